//! Facts in a text: names, which the runtime, the agent and ECS each write in their own way.

use std::path::Path;

use super::codes::Code;
use super::patterns::is_word;
use super::text::Text;

/// The punctuation around names.
const PUNCTUATION: [char; 18] =
    ['"', '\'', '‘', '’', '“', '”', '`', '.', ',', ';', ':', '(', ')', '{', '}', '<', '>', '\\'];

/// The characters of a name that are shown.
const LONGEST: usize = 256;

/// A text in which facts are looked up, in any letter case, and without commands: what a person wrote is not a fact.
pub(super) struct Facts<'x> {
    plain: &'x str,
    lower: &'x str,
    pub(super) is_truncated: bool,
}

/// An ARN's service, and what follows the account.
struct Arn<'x> {
    service: &'x str,
    resource: &'x str,
}

/// A role that was denied access.
#[derive(Clone, Copy)]
pub(super) struct Denial<'x> {
    pub(super) role: &'x str,
    /// Such as `ssm:GetParameters`.
    pub(super) action: Option<&'x str>,
}

impl<'x> Facts<'x> {
    pub(super) fn new(text: Option<&'x Text>) -> Self {
        match text {
            Some(text) => Self { plain: &text.plain, lower: &text.lower, is_truncated: text.is_truncated },
            None => Self { plain: "", lower: "", is_truncated: false },
        }
    }

    pub(super) fn says(&self, phrase: &str) -> bool {
        self.lower.contains(phrase)
    }

    /// Whether a quota is reached. A full disk's text names a file, which can contain any word.
    pub(super) fn is_quota(&self) -> bool {
        let is_disk = ["no space left on", "not enough space on", "thin pool has"].iter().any(|disk| self.says(disk));
        !is_disk && (self.says("limitexceeded") || self.says("reached the limit"))
    }

    pub(super) fn says_word(&self, word: &str) -> bool {
        self.places(word)
            .any(|at| !self.lower[..at].ends_with(is_word) && !self.lower[at + word.len()..].starts_with(is_word))
    }

    /// Where a phrase is. Most texts do not contain it, which is cheaper to find out first.
    fn places(&self, phrase: &str) -> impl Iterator<Item = usize> {
        let matches = self.says(phrase).then(|| self.lower.match_indices(phrase));
        matches.into_iter().flatten().map(|(at, _)| at)
    }

    /// What follows a phrase.
    fn after(&self, phrase: &str) -> Option<&'x str> {
        let at = self.places(phrase).next()?;
        Some(&self.plain[at + phrase.len()..])
    }

    /// The name that follows a phrase.
    pub(super) fn name_after(&self, phrase: &str) -> Option<&'x str> {
        name(self.after(phrase)?.split_whitespace().next()?)
    }

    /// The word before a phrase.
    pub(super) fn name_before(&self, phrase: &str) -> Option<&'x str> {
        let at = self.places(phrase).next()?;
        name(self.plain[..at].split_whitespace().next_back()?)
    }

    /// The first identifier with a prefix such as `subnet-` and a digit after it.
    pub(super) fn id(&self, prefix: &str) -> Option<&'x str> {
        self.places(prefix).find_map(|at| {
            let rest = &self.plain[at + prefix.len()..];
            let length = rest.find(|character: char| !character.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let begins_word = !self.plain[..at].ends_with(|before: char| before.is_alphanumeric() || before == '-');
            let is_id = begins_word && rest[..length].contains(|character: char| character.is_ascii_digit());
            is_id.then(|| &self.plain[at..at + prefix.len() + length.min(LONGEST)])
        })
    }

    fn arns(&self) -> impl Iterator<Item = Arn<'x>> {
        self.places("arn:aws").filter_map(|at| {
            let arn = self.plain[at..].split(|end: char| end.is_whitespace() || "'\"’”,".contains(end)).next()?;
            let mut parts = without_punctuation(arn).splitn(6, ':').skip(2);
            Some(Arn { service: parts.next()?, resource: parts.nth(2)? })
        })
    }

    /// The distinct names in ARNs of a service, after a prefix.
    fn named(&self, service: &str, prefix: &str) -> Vec<&'x str> {
        let mut names = Vec::new();
        for arn in self.arns().filter(|arn| arn.service.eq_ignore_ascii_case(service)) {
            let start = arn.resource.get(..prefix.len()).filter(|start| start.eq_ignore_ascii_case(prefix));
            let found = start.and_then(|_| arn.resource[prefix.len()..].split(':').next()).and_then(name);
            names.extend(found.filter(|found| !names.contains(found)));
        }
        names
    }

    /// The names of secrets, without the six characters that Secrets Manager appends.
    pub(super) fn secrets(&self) -> Vec<&'x str> {
        let is_random = |end: &str| {
            end.len() == 6 && end.chars().all(char::is_alphanumeric) && !end.chars().all(|c| c.is_ascii_lowercase())
        };
        let mut secrets: Vec<&str> = self
            .named("secretsmanager", "secret:")
            .into_iter()
            .map(|secret| secret.rsplit_once('-').filter(|(_, end)| is_random(end)).map_or(secret, |(name, _)| name))
            .collect();
        secrets.dedup();
        secrets
    }

    /// The names of parameters. The ARN of `/a/b` ends in `parameter/a/b`.
    pub(super) fn parameters(&self) -> Vec<&'x str> {
        let missing = self.after("invalid parameters:").or_else(|| self.after("invalid ssm parameters:"));
        if let Some(missing) = missing {
            return missing.split(',').filter_map(|parameter| name(parameter.split_whitespace().next()?)).collect();
        }
        self.named("ssm", "parameter")
            .into_iter()
            .map(|name| name.strip_prefix('/').filter(|rest| !rest.contains('/')).unwrap_or(name))
            .collect()
    }

    pub(super) fn log_group(&self) -> Option<&'x str> {
        let quoted = self.after("log group ").filter(|rest| rest.starts_with(['\'', '"', '/']));
        self.named("logs", "log-group:").first().copied().or_else(|| name(quoted?.split_whitespace().next()?))
    }

    /// The address of an object or a bucket.
    pub(super) fn s3_object(&self) -> Option<&'x str> {
        let url = self.places("s3://").next().and_then(|at| name(self.plain[at..].split([' ', '?']).next()?));
        url.or_else(|| {
            self.arns().find(|arn| arn.service.eq_ignore_ascii_case("s3")).and_then(|arn| name(arn.resource))
        })
    }

    /// The directory of a file system, after its address.
    pub(super) fn mounted_path(&self) -> Option<&'x str> {
        let address = self.after("mounting ")?.split_whitespace().next()?;
        name(address.split_once(':')?.1)
    }

    pub(super) fn denial(&self) -> Option<Denial<'x>> {
        let role = self
            .arns()
            .find_map(|arn| {
                let (kind, rest) = arn.resource.split_once('/')?;
                let is_role = ["assumed-role", "role"].iter().any(|role| kind.eq_ignore_ascii_case(role));
                is_role.then(|| if kind.len() > 4 { rest.split('/').next() } else { rest.rsplit('/').next() })?
            })
            .and_then(shortened)?;
        let is_action = |action: &&str| {
            action.contains(':') && action.chars().all(|c| c.is_ascii_alphanumeric() || ":-*".contains(c))
        };
        Some(Denial { role, action: self.name_after("to perform:").filter(is_action) })
    }

    /// What the host could not reach. A URL in the text of a container that could not be started may be in its command.
    pub(super) fn endpoint(&self, code: Code) -> Option<&'x str> {
        if matches!(code, Code::ContainerStartFailed | Code::CommandNotFound) {
            return None;
        }
        let address = |phrase: &str| host(self.after(phrase)?.split(' ').next()?);
        let file_system = || address("failed to resolve ").filter(|name| name.to_ascii_lowercase().starts_with("fs-"));
        let urls =
            self.places("://").filter_map(|at| host(self.plain[at + 3..].split(['/', '"', '\'', ' ', '?']).next()?));
        // A password with a slash in it looks like a port.
        let is_port = |end: &str| end.ends_with(']') || end.bytes().all(|byte| byte.is_ascii_digit());
        let is_host = |url: &&str| url.rsplit_once(':').is_none_or(|(_, end)| is_port(end));
        let urls = urls.filter(is_host);
        let url = || urls.into_iter().find(|url| !url.eq_ignore_ascii_case("docs.aws.amazon.com"));
        let looked_up = || address("lookup ").or_else(|| address("could not resolve host: "));
        let dialed = || address("dial tcp ").or_else(|| address("dial unix "));
        let service = || name(self.after("between the task and ")?.split(['.', ':']).next()?);
        let resolved = || address("failed to resolve ").filter(|name| name.contains('.'));
        file_system().or_else(url).or_else(looked_up).or_else(dialed).or_else(service).or_else(resolved)
    }

    /// Whether it is on the host itself.
    pub(super) fn endpoint_is_local(&self, code: Code) -> bool {
        let endpoint = self.endpoint(code).unwrap_or_default().to_ascii_lowercase();
        let goes_on = |next: char| is_word(next) || next == '.';
        let is = |local: &str| endpoint.strip_prefix(local).is_some_and(|rest| !rest.starts_with(goes_on));
        let is_socket = Path::new(&endpoint).extension().is_some_and(|ending| ending == "sock");
        is_socket || ["127.0.0.1", "169.254.170.2", "localhost", "[::1]"].into_iter().any(is)
    }

    /// What an instance lacks, such as `GPU`.
    pub(super) fn resource(&self) -> Option<&'x str> {
        self.places("resource:").find_map(|at| {
            let rest = &self.plain[at + "resource:".len()..];
            let length = rest.find(|end: char| !end.is_ascii_alphanumeric() && end != '_').unwrap_or(rest.len());
            Some(&rest[..length.min(LONGEST)])
                .filter(|resource| !resource.is_empty() && !resource.eq_ignore_ascii_case("arn"))
        })
    }

    /// The load balancer or the target group between parentheses.
    pub(super) fn target(&self) -> Option<&'x str> {
        let target = self.after("health checks in (")?.split(')').next()?;
        let target = name(target.split_once(' ').map_or(target, |(_, target)| target))?;
        // An ARN ends in the group's name and an id.
        if target.contains("targetgroup/") {
            target.rsplit('/').nth(1)
        } else {
            Some(target).filter(|target| *target != "target-group" && *target != "elb")
        }
    }
}

/// A name without the punctuation around it.
fn name(word: &str) -> Option<&str> {
    shortened(without_punctuation(word))
}

/// A name that may begin or end with an IPv6 address between brackets.
fn host(word: &str) -> Option<&str> {
    shortened(word.trim_matches(PUNCTUATION))
}

fn without_punctuation(word: &str) -> &str {
    word.trim_matches(|character| PUNCTUATION.contains(&character) || "[]".contains(character))
}

fn shortened(name: &str) -> Option<&str> {
    let end = name.char_indices().nth(LONGEST).map_or(name.len(), |(end, _)| end);
    Some(&name[..end]).filter(|name| !name.is_empty())
}
