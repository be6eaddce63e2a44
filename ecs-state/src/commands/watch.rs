//! `ecs-state watch`

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use anstream::ColorChoice;
use anstream::adapter::strip_str;
use anstyle::Style;
use chrono::Utc;
use ecs_model::TaskStatus;
use ecs_model::arn::last_part;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::groups::{self, Group};
use super::services;
use super::tasks::{COLUMNS, cells};
use crate::access::{Source, filter};
use crate::arguments::{WatchArguments, Watched};
use crate::columns::{Cell, Table, truncate};
use crate::exit_code::{HANGUP, INTERRUPT, TERMINATE};
use crate::failure::Failure;
use crate::tables::filter::Filter;
use crate::tables::{Tables, TaskSet};
use crate::terminal::{BOLD, DIM, GREEN, PLAIN, RED, YELLOW, clean, grouped, size};
use crate::time::{Window, instant};

/// The lines around the rows: the title, the header, and the one with the changes, with blank lines between.
const FRAME: usize = 5;
/// How many of the tasks that are gone are named.
const NAMED: usize = 3;

/// The status of each task, by its ARN, or of each service, by its cluster's ARN and its name.
type Seen = HashMap<Box<str>, Box<str>>;

/// The tasks or services at one refresh.
struct Snapshot {
    /// The rows that fit the screen.
    rows: Vec<Vec<Cell>>,
    seen: Seen,
    unreadable: usize,
    changed: usize,
}

pub(crate) async fn run(tables: &Tables, arguments: WatchArguments) -> Result<(), Failure> {
    if !io::stdout().is_terminal() {
        return Err(Failure::Usage("watch needs a terminal: for a program, use `ecs-state tasks --json`".to_owned()));
    }
    let services = (arguments.what == Watched::Services).then_some(true);
    let filter = Filter { services, ..filter(tables, &arguments.filters, false).await? };
    let mut stop = Stop::new()?;
    let mut screen: Option<Screen> = None;
    let mut before: Option<Seen> = None;
    loop {
        let found = tokio::select! {
            code = stop.code() => return stopped(code),
            found = snapshot(tables, &filter, &arguments, before.as_ref()) => found,
        };
        match (found, &screen) {
            // An error at the first refresh will not fix itself, so stop at once.
            (Err(failure), None) => return Err(failure),
            (Err(failure), Some(_)) => show(&format!("{RED}{}{RED:#}", clean(&failure.to_string())))?,
            (Ok(found), _) => {
                if screen.is_none() {
                    screen = Some(Screen::enter()?);
                }
                show(&render(&found, before.as_ref(), &arguments)?)?;
                before = Some(found.seen);
            }
        }
        tokio::select! {
            code = stop.code() => return stopped(code),
            () = tokio::time::sleep(arguments.interval) => {}
        }
    }
}

/// Ctrl-C is the normal end of this command.
fn stopped(code: u8) -> Result<(), Failure> {
    if code == INTERRUPT { Ok(()) } else { Err(Failure::Signal(code)) }
}

async fn snapshot(
    tables: &Tables,
    filter: &Filter,
    arguments: &WatchArguments,
    before: Option<&Seen>,
) -> Result<Snapshot, Failure> {
    let mut source = Source::quiet(tables, arguments.scan);
    let now = Utc::now();
    let mut snapshot = Snapshot { rows: Vec::new(), seen: Seen::new(), unreadable: 0, changed: 0 };
    if arguments.what == Watched::Services {
        let (services, unreadable) = groups::read(&mut source, filter, Window::new(services::SINCE, None)?).await?;
        snapshot.unreadable = unreadable.count();
        for service in services {
            let Group { running, starting, stopping, is_crash_loop, .. } = service;
            let status = format!("{running} {starting} {stopping} {is_crash_loop}");
            let key = format!("{}/{}", service.cluster, services::name(&service));
            snapshot.add(before, &key, status, || services::cells(&service, now));
        }
        return Ok(snapshot);
    }
    let mut listing = source.tasks(TaskSet::Active, filter, None).await?;
    loop {
        let rows = listing.next().await?;
        if rows.is_empty() {
            return Ok(snapshot);
        }
        for row in rows {
            let Ok(row) = row else {
                snapshot.unreadable += 1;
                continue;
            };
            // Without how long a task has been missing, which always changes.
            let missing = if row.recorded.missing_since.is_some() { " missing" } else { "" };
            let status = format!("{}{missing}", row.state.last_status.as_ref().map_or("", TaskStatus::as_str));
            snapshot.add(before, &row.state.task_arn, status, || cells(&row, None, now));
        }
    }
}

impl Snapshot {
    /// Adds a row, highlighted if it is new or has another status than before.
    fn add(&mut self, before: Option<&Seen>, key: &str, status: String, cells: impl FnOnce() -> Vec<Cell>) {
        let change = match before.map(|before| before.get(key)) {
            Some(None) => Some(GREEN),
            Some(Some(old)) if **old != *status => Some(YELLOW),
            _ => None,
        };
        self.changed += usize::from(change.is_some());
        if self.rows.len() < size().map_or(usize::MAX, |(_, height)| height.saturating_sub(FRAME).max(1)) {
            self.rows.push(match change {
                Some(style) => cells().into_iter().map(|cell| cell.with(style.bold())).collect(),
                None => cells(),
            });
        }
        self.seen.insert(key.into(), status.into());
    }
}

fn render(found: &Snapshot, before: Option<&Seen>, arguments: &WatchArguments) -> io::Result<String> {
    let (what, columns) = match arguments.what {
        Watched::Tasks => ("tasks", &COLUMNS[..COLUMNS.len() - 1]),
        Watched::Services => ("services", services::COLUMNS),
    };
    let count = |number: usize| grouped(u64::try_from(number).unwrap_or(u64::MAX));
    let mut text = format!(
        "{BOLD}{} {what}{BOLD:#}  {DIM}{}, every {}, until Ctrl-C{DIM:#}\n\n",
        count(found.seen.len()),
        instant(Utc::now()),
        humantime::format_duration(arguments.interval),
    );
    let mut rendered = Vec::new();
    let mut table = Table::new(columns, size().map(|(width, _)| width), &mut rendered);
    for row in &found.rows {
        table.add(row.clone())?;
    }
    table.flush()?;
    text.push_str(&String::from_utf8_lossy(&rendered));

    let mut notes: Vec<(Style, String)> = Vec::new();
    if found.seen.len() > found.rows.len() {
        notes.push((DIM, format!("{} more below", count(found.seen.len() - found.rows.len()))));
    }
    if found.unreadable > 0 {
        notes.push((RED, format!("{} can't be read: see `ecs-state {what}`", count(found.unreadable))));
    }
    if found.changed > 0 {
        notes.push((YELLOW, format!("{} new or changed", count(found.changed))));
    }
    let mut gone: Vec<&str> = before
        .into_iter()
        .flat_map(HashMap::keys)
        .filter(|arn| !found.seen.contains_key(*arn))
        .map(|arn| &**arn)
        .collect();
    gone.sort_unstable();
    if !gone.is_empty() {
        let id = |key: &&str| truncate(&clean(last_part(key)), 12);
        let mut ids = gone.iter().take(NAMED).map(id).collect::<Vec<_>>().join(" ");
        if gone.len() > NAMED {
            ids.push_str(" …");
        }
        notes.push((RED, format!("{} gone: {ids}", count(gone.len()))));
    }
    if notes.is_empty() && found.seen.is_empty() {
        notes.push((PLAIN, format!("no {what} match")));
    }
    let notes: Vec<String> = notes.iter().map(|(style, note)| format!("{style}{note}{style:#}")).collect();
    let _ = write!(text, "\n{}", notes.join("  "));
    Ok(text)
}

/// The terminal's alternate screen, without a cursor. Dropping it restores the terminal.
struct Screen;

impl Screen {
    fn enter() -> io::Result<Self> {
        io::stdout().write_all(b"\x1b[?1049h\x1b[?25l")?;
        Ok(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(b"\x1b[?25h\x1b[?1049l").and_then(|()| stdout.flush());
    }
}

/// Replaces the contents of the screen.
fn show(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let mut frame = "\x1b[H".to_owned();
    let colored = anstream::AutoStream::choice(&stdout) != ColorChoice::Never;
    for line in text.split('\n') {
        let line = if colored { line.to_owned() } else { strip_str(line).to_string() };
        let _ = write!(frame, "{line}\x1b[K\r\n");
    }
    // The last line break would scroll a full screen.
    frame.truncate(frame.len() - 2);
    frame.push_str("\x1b[J");
    stdout.write_all(frame.as_bytes())?;
    stdout.flush()
}

/// The signals that end `watch`.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal, and returns its exit code.
    async fn code(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => INTERRUPT,
            _ = self.terminate.recv() => TERMINATE,
            _ = self.hangup.recv() => HANGUP,
        }
    }
}
