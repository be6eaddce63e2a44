//! Why a task stopped, or is being stopped.
//!
//! [`Diagnosis::new`] first finds out how the task ended, since that decides which texts may explain it: a container's
//! reason can be days old, or about a sidecar whose failure stopped nothing. The path of a stop through the modules:
//!
//! 1. `text` prepares a text, `patterns` compares it with all patterns at once, and `report` holds all texts.
//! 2. `gate` finds out how the task ended and what explains it: a row of `codes`, and of `causes`.
//! 3. `clause` says what happened and what to do about it. What kept a task from starting is a `subject` and a
//!    `failure`, with the names that `facts` finds.
//! 4. `sentence` adds the remaining texts, and `responsibility` decides who acts.

#[macro_use]
mod words;

mod actor;
mod causes;
mod clause;
mod codes;
mod crash_loop;
mod facts;
mod failure;
mod gate;
mod patterns;
mod report;
mod responsibility;
mod sentence;
mod subject;
mod text;

use serde::Serialize;

use self::codes::Ending;
use self::gate::Finding;
use self::report::{Ended, Report, Statement};
use self::sentence::Sentence;
use crate::{StopCode, Task};

pub use self::actor::{Actor, Kind};
pub use self::causes::Cause;
pub use self::codes::Code;
pub use self::crash_loop::{CRASH_LOOP_SPAN, Stop, is_crash_loop};
pub use self::words::UnknownName;

/// Why a task stopped, or is being stopped.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Diagnosis {
    /// What failed, or what ended it.
    pub code: Code,
    /// Why the task never started. `None` if no text says why.
    pub cause: Option<Cause>,
    /// What happened, in one sentence with the facts in it. Names and texts are quoted, without control characters.
    pub summary: String,
    /// Who can act on it.
    pub actor: Actor,
    /// The next thing to do, in one sentence. It quotes nothing that a person or a program wrote.
    pub advice: String,
    /// Whether a retry may succeed. `None` if unknown.
    pub transient: Option<bool>,
    /// The name of the container concerned, if there is one.
    pub container: Option<String>,
    /// The raw text behind the diagnosis, else any other text, else the stop code. `None` if there is none of these.
    pub evidence: Option<String>,
    #[serde(skip)]
    kind: Kind,
    #[serde(skip)]
    redacted_summary: String,
}

impl Diagnosis {
    /// Diagnoses a task. `None` if it has neither stopped nor is being stopped ([`Task::is_stopping`]).
    #[must_use]
    pub fn new(task: &Task) -> Option<Self> {
        if !task.is_stopped() && !task.is_stopping() {
            return None;
        }
        let report = Report::new(task);
        let finding = gate::explain(&report);
        let cause = cause(&report, &finding);
        let Sentence { summary, redacted_summary, advice } = Sentence::new(&report, &finding, cause);
        let (actor, transient) = responsibility::responsible(&report, &finding, cause);
        Some(Self {
            code: finding.code,
            cause,
            summary,
            actor,
            advice,
            transient,
            container: finding.ended.and_then(Ended::name).map(str::to_owned),
            evidence: evidence(&report, &finding).map(str::to_owned),
            kind: responsibility::kind(&report, finding.code),
            redacted_summary,
        })
    }

    /// How to count or announce the stop.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The summary without what a person or a program wrote, which may contain secrets: the reason of a call of
    /// `StopTask`, commands, and unrecognized texts.
    #[must_use]
    pub fn redacted_summary(&self) -> &str {
        &self.redacted_summary
    }
}

/// The cause in the text that explains the stop, else in another text with the same code.
fn cause(report: &Report, finding: &Finding) -> Option<Cause> {
    let statement =
        finding.statement.filter(|statement| !statement.is_of_the_stop() && !statement.is_of_a_dependency())?;
    let has_run = finding.ended.is_some_and(|ended| ended.exit_code.is_some());
    let has_cause = match finding.code {
        Code::OutOfMemory => false,
        Code::RuntimeTimeout => true,
        code => code.is_of(Ending::NeverStarted) && !has_run,
    };
    let is_other = |other: &&Statement| other.code(|code| code.is_of(Ending::NeverStarted)) == Some(finding.code);
    let texts = [statement].into_iter().chain(report.statements().filter(is_other)).map(|statement| &statement.text);
    if has_cause { Cause::of(finding.code, texts) } else { None }
}

/// The text that explains the stop, else the task's, else any, else the stop code.
fn evidence<'t>(report: &Report<'t>, finding: &Finding<'_, 't>) -> Option<&'t str> {
    let statement = finding.statement.or_else(|| report.statements().next());
    statement.map(|statement| statement.text.raw).or_else(|| report.stop_code.map(StopCode::as_str))
}
