//! Why a task never started.

use std::sync::LazyLock;

use super::codes::Code;
use super::patterns::Patterns;
use super::text::Text;

use Code::{RuntimeTimeout, VolumeFailed};

words! {
    /// Why a task never started. The names are an interface: people filter and count by them.
    Cause ("cause") {
        /// It was built for another processor or operating system.
        WrongPlatform = "WrongPlatform",
        /// A disk is full, or a subnet's addresses, the instances' resources or a quota are used up.
        Exhausted = "Exhausted",
        /// It is malformed, or does not fit the rest of the task definition.
        Invalid = "Invalid",
        /// Too many requests were made.
        RateLimited = "RateLimited",
        /// The other end could not be reached.
        Unreachable = "Unreachable",
        /// A role, a policy, a login or a permission is missing.
        AccessDenied = "AccessDenied",
        /// It does not exist.
        NotFound = "NotFound",
        /// It took too long.
        Timeout = "Timeout",
    }
}

struct Row {
    /// `None`: not one of the causes below, despite the same words.
    cause: Option<Cause>,
    /// The only code that this row applies to.
    only: Option<Code>,
    phrases: &'static [&'static str],
}

const fn row(cause: Cause, phrases: &'static [&'static str]) -> Row {
    Row { cause: Some(cause), only: None, phrases }
}

/// The causes, in order of precedence. A cause has several rows if some of its phrases take precedence over those of
/// another cause and others do not.
static ROWS: &[Row] = &[
    // The kernel's limit of control groups, not a full disk.
    Row { cause: None, only: None, phrases: &["‹cgroup› … no space left on device"] },
    row(
        Cause::WrongPlatform,
        &[
            "does not contain descriptor matching platform",
            "failed to find a descriptor for platform",
            "no matching manifest",
            "exec format error",
            "no match for platform in manifest",
            "does not match the specified platform",
            // Windows.
            "image is incompatible with",
            "does not match the host operating system",
            "cannot be used on this platform",
        ],
    ),
    row(Cause::RateLimited, &["RequestLimitExceeded…"]),
    row(
        Cause::Exhausted,
        &[
            "no space left on device",
            "not enough space on the disk",
            "Thin Pool has",
            "InsufficientFreeAddressesInSubnet…",
            "RESOURCE:…",
            "port is already allocated",
            "…LimitExceeded…",
            "reached the limit on the number",
        ],
    ),
    row(
        Cause::Invalid,
        &[
            "no processor for media-type",
            "unsupported media type",
            "media type … is no longer supported",
            "invalid reference format",
            "IdempotentParameterMismatch…",
            "TagPolicyViolation…",
            "failed to unpack",
            "InvalidParameter…",
            "is required",
            "no log configuration specified",
            "selected compute strategy",
        ],
    ),
    row(Cause::RateLimited, &["toomanyrequests", "Too Many Requests", "rate limit", "Throttling…", "Rate exceeded"]),
    row(
        Cause::Unreachable,
        &[
            "connection issue",
            "pull command failed: … signal: killed",
            "pull command failed: … panic: runtime error",
            "logger args: … signal: killed",
            "logger args: … panic: runtime error",
        ],
    ),
    row(Cause::NotFound, &["Check whether the image exists"]),
    row(
        Cause::AccessDenied,
        &[
            "AccessDenied…",
            "access denied by server",
            "not authorized",
            "UnauthorizedOperation",
            "AuthFailure",
            "403 Forbidden",
            "403 … api error Forbidden",
            "Forbidden … status code: 403",
            "401 Unauthorized",
            "no basic auth credentials",
            "incorrect username or password",
            "unable to assume",
            "Check that the role has the permissions",
            "operation not permitted",
            // Amazon ECR also says this about repositories that exist.
            "pull access denied for ‹ecr›",
            "pull access denied for repository ‹ecr›",
        ],
    ),
    row(
        Cause::NotFound,
        &[
            // Other registries say these about what does not exist.
            "pull access denied",
            "requested access to the resource is denied",
            "authentication required",
            "repository does not exist",
            "not found",
            "NotFound",
            "manifest unknown",
            "name unknown",
            "does not exist",
            "ResourceNotFound…",
            "ParameterNotFound…",
            "can't find",
            "cannot find",
            // SSM's words for missing parameters.
            "invalid parameters:",
            "invalid ssm parameters:",
            "did not contain json key",
            "Check whether the secret exists",
            "Check whether the parameter exists",
            "NoSuchBucket",
            "NoSuchKey",
        ],
    ),
    Row { cause: Some(Cause::NotFound), only: Some(VolumeFailed), phrases: &["No such file or directory"] },
    row(
        Cause::Unreachable,
        &[
            "i/o timeout",
            "EOF",
            "connection refused",
            "connection reset",
            "TLS handshake timeout",
            "context deadline exceeded",
            "context canceled",
            "request canceled",
            "no such host",
            "server misbehaving",
            "name resolution",
            "Name or service not known",
            "network is unreachable",
            "no route to host",
            "Could not reach any registry endpoint",
            "send request failed",
            "timeout awaiting response headers",
            "Could not connect to the endpoint",
            "Connection timed out",
            "mount system call failed",
            "failed due to timeout",
        ],
    ),
    Row { cause: Some(Cause::Unreachable), only: Some(VolumeFailed), phrases: &["Failed to resolve"] },
    row(Cause::Timeout, &["timed out", "timeout wait…"]),
];

static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    let row = |(index, row): (usize, &Row)| row.phrases.iter().map(move |phrase| (index, (*phrase).to_owned()));
    Patterns::new(ROWS.iter().enumerate().flat_map(row))
});

impl Cause {
    /// The cause in the first text of a code that contains one.
    pub(super) fn of<'t: 'x, 'x>(code: Code, texts: impl Iterator<Item = &'x Text<'t>>) -> Option<Self> {
        texts.into_iter().find_map(|text| {
            let row = PATTERNS.rows(text).iter().map(|row| &ROWS[row]).find(|row| match row.only {
                Some(only) => only == code,
                None => code != RuntimeTimeout || row.cause == Some(Self::Timeout),
            })?;
            row.cause
        })
    }
}
