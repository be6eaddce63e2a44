//! Why a task stopped, or is being stopped.
//!
//! [`Diagnosis::new`] first asks how the task ended, since that decides which texts may explain it: a container's reason
//! can be days old, or about a sidecar whose failure stopped nothing. The path of a stop through the modules:
//!
//! 1. `text` prepares a text, `patterns` compares it with all patterns at once, and `said` holds all texts.
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
mod responsibility;
mod said;
mod sentence;
mod subject;
mod text;

use serde::Serialize;

use self::codes::Ending;
use self::gate::Finding;
use self::said::{Ended, Said, Statement};
use self::sentence::Sentence;
use crate::{StopCode, Task};

pub use self::actor::{Actor, Kind};
pub use self::causes::Cause;
pub use self::codes::Code;
pub use self::crash_loop::{CrashLoop, Stop, crash_loop};
pub use self::words::UnknownName;

/// Why a task stopped, or is being stopped.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Diagnosis {
    /// What failed, or what ended it.
    pub code: Code,
    /// Why, of a task that never started. `None` if no text tells.
    pub cause: Option<Cause>,
    /// What happened, in one sentence with the facts in it. Names and texts are quoted, without control characters.
    pub summary: String,
    /// Who can act on it.
    pub actor: Actor,
    /// The next thing to do, in one sentence. It quotes nothing that a person or a program wrote.
    pub advice: String,
    /// Whether the same may go well the next time. `None` if that can't be told.
    pub transient: Option<bool>,
    /// The name of the container that it is about, if it is about one.
    pub container: Option<String>,
    /// The raw text that the diagnosis is drawn from, or what else ECS says. `None` if it says nothing.
    pub evidence: Option<String>,
    #[serde(skip)]
    kind: Kind,
    #[serde(skip)]
    redacted_summary: String,
}

impl Diagnosis {
    /// Diagnoses a task. `None` if it has not stopped and shall not: [`Task::is_stopping`] tells whether it is being
    /// stopped, and so does the summary.
    #[must_use]
    pub fn new(task: &Task) -> Option<Self> {
        if !task.is_stopped() && !task.is_stopping() {
            return None;
        }
        let said = Said::new(task);
        let finding = gate::explain(&said);
        let cause = cause(&said, &finding);
        let Sentence { summary, redacted_summary, advice } = Sentence::new(&said, &finding, cause);
        let (actor, transient) = responsibility::responsible(&said, &finding, cause);
        Some(Self {
            code: finding.code,
            cause,
            summary,
            actor,
            advice,
            transient,
            container: finding.ended.and_then(Ended::name).map(str::to_owned),
            evidence: evidence(&said, &finding).map(str::to_owned),
            kind: responsibility::kind(&said, finding.code),
            redacted_summary,
        })
    }

    /// How the stop counts for whoever counts or announces stops.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The summary without what a person or a program wrote: the reason of a call of `StopTask`, commands, and texts
    /// that are not known here. They may hold secrets.
    #[must_use]
    pub fn redacted_summary(&self) -> &str {
        &self.redacted_summary
    }
}

/// The cause that the text tells which explains the stop, else another text with the same code.
fn cause(said: &Said, finding: &Finding) -> Option<Cause> {
    let statement =
        finding.statement.filter(|statement| !statement.is_of_the_stop() && !statement.is_of_a_dependency())?;
    let has_run = finding.ended.is_some_and(|ended| ended.exit_code.is_some());
    let has_cause = match finding.code {
        Code::OutOfMemory => false,
        Code::RuntimeTimeout => true,
        code => code.is_of(Ending::NeverStarted) && !has_run,
    };
    let is_other = |other: &&Statement| other.code(|code| code.is_of(Ending::NeverStarted)) == Some(finding.code);
    let texts = [statement].into_iter().chain(said.statements().filter(is_other)).map(|statement| &statement.text);
    if has_cause { Cause::of(finding.code, texts) } else { None }
}

/// The text that explains the stop, else the task's, else any, else the stop code.
fn evidence<'t>(said: &Said<'t>, finding: &Finding<'_, 't>) -> Option<&'t str> {
    let statement = finding.statement.or_else(|| said.statements().next());
    statement.map(|statement| statement.text.raw).or_else(|| said.stop_code.map(StopCode::as_str))
}
