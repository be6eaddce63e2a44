//! Everything that ECS says about a stop, prepared for searching.

use std::cmp::Reverse;

use super::codes::{Aside, Code, Ending, Matches};
use super::text::{Text, is_plain};
use crate::{Attachment, Container, StopCode, Task};

/// Exit codes of a container that was stopped. The second one is Windows' 0xC000013A.
const ON_SIGTERM: [i64; 2] = [143, 3_221_225_786];
const ON_SIGKILL: i64 = 137;
/// With `stopSignal` SIGINT.
const ON_SIGINT: i64 = 130;

/// A `stoppedReason` that gives no reason.
const EMPTY: [&str; 2] = ["essential container in task exited", "task failed to start"];

/// What ECS says about a task.
pub(super) struct Report<'t> {
    pub(super) task: &'t Task,
    pub(super) stop_code: Option<&'t StopCode>,
    /// `stoppedReason`
    pub(super) reason: Option<Statement<'t>>,
    pub(super) attached: Vec<Attached<'t>>,
    /// Sidecars last, each group by name, since the order in which ECS lists containers is arbitrary.
    pub(super) containers: Vec<Ended<'t>>,
}

/// A text and the phrases in it.
pub(super) struct Statement<'t> {
    pub(super) text: Text<'t>,
    matches: Matches,
}

/// An attachment that failed: it has a `statusReason`.
pub(super) struct Attached<'t> {
    pub(super) attachment: &'t Attachment,
    pub(super) reason: Statement<'t>,
}

/// How a container ended.
pub(super) struct Ended<'t> {
    pub(super) container: &'t Container,
    pub(super) is_sidecar: bool,
    pub(super) reason: Option<Statement<'t>>,
    /// The exit code of a container that ran.
    pub(super) exit_code: Option<i64>,
}

impl<'t> Report<'t> {
    pub(super) fn new(task: &'t Task) -> Self {
        let names = names(task);
        let mut containers: Vec<Ended> =
            task.containers.iter().map(|container| Ended::new(container, &names)).collect();
        containers.sort_by_key(|ended| {
            let container = ended.container;
            (ended.is_sidecar, &container.name, Reverse(container.exit_code), &container.reason)
        });
        let attached = |attachment: &'t Attachment| {
            let reason = Statement::new(attachment.status_reason(), &names)?;
            Some(Attached { attachment, reason })
        };
        Self {
            task,
            stop_code: task.stop_code.as_ref().filter(|code| !code.as_str().trim().is_empty()),
            reason: Statement::new(task.stopped_reason.as_deref(), &names),
            attached: task.attachments.iter().filter_map(attached).collect(),
            containers,
        }
    }

    pub(super) fn has_started(&self) -> bool {
        self.task.started_at.is_some()
    }

    pub(super) fn is_fargate(&self) -> bool {
        self.task.capacity().is_some_and(|capacity| capacity.to_ascii_uppercase().starts_with("FARGATE"))
    }

    /// All texts.
    pub(super) fn statements(&self) -> impl Iterator<Item = &Statement<'t>> {
        let attached = self.attached.iter().map(|attached| &attached.reason);
        let containers = self.containers.iter().filter_map(|ended| ended.reason.as_ref());
        self.reason.iter().chain(attached).chain(containers)
    }
}

/// The names of a task's containers and images, in lower case, except those that could be words of a sentence.
fn names(task: &Task) -> Vec<String> {
    let names = task.containers.iter().flat_map(|container| [&container.name, &container.image]);
    names.flatten().filter(|name| !is_plain(name)).map(|name| name.to_ascii_lowercase()).collect()
}

impl<'t> Statement<'t> {
    fn new(text: Option<&'t str>, names: &[String]) -> Option<Self> {
        let text = Text::new(text?, names)?;
        let matches = Matches::new(&text);
        Some(Self { text, matches })
    }

    /// The first of these codes whose phrases it contains.
    pub(super) fn code(&self, is: impl Fn(Code) -> bool) -> Option<Code> {
        self.matches.code(is)
    }

    /// The first code of a task that never started.
    pub(super) fn start_code(&self) -> Option<Code> {
        self.code(|code| code.is_of(Ending::NeverStarted))
    }

    /// Whether it gives no reason.
    pub(super) fn is_empty(&self) -> bool {
        EMPTY.contains(&self.text.normal.trim_end_matches('.'))
    }

    /// Whether it is about how the stop went, which is never its reason.
    pub(super) fn is_of_the_stop(&self) -> bool {
        self.matches.aside(Aside::Stop)
    }

    pub(super) fn is_of_memory(&self) -> bool {
        self.code(|code| code == Code::OutOfMemory).is_some()
    }

    pub(super) fn is_of_a_vanished_container(&self) -> bool {
        self.matches.aside(Aside::Vanished)
    }

    /// Whether it says that another container failed first.
    pub(super) fn is_of_a_dependency(&self) -> bool {
        self.matches.aside(Aside::Dependency)
    }
}

impl<'t> Ended<'t> {
    fn new(container: &'t Container, names: &[String]) -> Self {
        let reason = Statement::new(container.reason.as_deref(), names);
        // Docker sets these for a container that it can't start.
        let never_ran = matches!(container.exit_code, Some(126..=128))
            && reason.as_ref().is_some_and(|reason| reason.matches.aside(Aside::Start));
        let exit_code = container.exit_code.filter(|_| !never_ran);
        Self { container, is_sidecar: container.is_sidecar(), reason, exit_code }
    }

    pub(super) fn image(&self) -> Option<&'t str> {
        self.container.image.as_deref()
    }

    /// Whether it ran, and its end is known.
    pub(super) fn has_run(&self) -> bool {
        self.exit_code.is_some()
    }

    pub(super) fn name(&self) -> Option<&'t str> {
        self.container.name.as_deref()
    }

    /// Whether it ended on SIGTERM.
    pub(super) fn was_terminated(&self) -> bool {
        self.exit_code.is_some_and(|code| ON_SIGTERM.contains(&code))
    }

    pub(super) fn was_killed(&self) -> bool {
        self.exit_code == Some(ON_SIGKILL)
    }

    /// Whether its exit code is how a stop ends a container.
    pub(super) fn was_stopped(&self) -> bool {
        self.was_terminated() || self.was_killed()
    }

    /// Whether it failed by itself. An interrupt may be a stop.
    pub(super) fn has_failed(&self) -> bool {
        self.exit_code.is_some_and(|code| code != 0 && code != ON_SIGINT) && !self.was_stopped()
    }

    pub(super) fn was_interrupted(&self) -> bool {
        self.exit_code == Some(ON_SIGINT)
    }

    pub(super) fn has_succeeded(&self) -> bool {
        self.exit_code == Some(0)
    }
}
