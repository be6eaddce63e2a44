//! `ecs-state watch`

use std::collections::HashMap;
use std::ffi::c_int;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::io::{self, IsTerminal as _, Write as _};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use anstream::ColorChoice;
use anstream::adapter::strip_str;
use anstyle::Style;
use chrono::Utc;
use ecs_model::TaskStatus;
use ecs_model::arn::last_part;
use nix::sys::signal::Signal::{self, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGSTOP, SIGTERM, SIGTSTP};
use nix::sys::signal::raise;
use tokio::signal::unix::{self, SignalKind};

use super::groups::{self, Group};
use super::services;
use super::tasks::{COLUMNS, cells};
use crate::access::{Source, filter};
use crate::arguments::{WatchArguments, Watched};
use crate::column_widths::GAP;
use crate::columns::{Cell, Table, truncate, wrap};
use crate::exit_code::SIGNAL;
use crate::failure::Failure;
use crate::tables::filter::Filter;
use crate::tables::{Tables, TaskSet};
use crate::terminal::{BOLD, DIM, GREEN, PLAIN, RED, YELLOW, clean, columns, grouped, size};
use crate::time::{Window, instant};

/// The lines around the rows: the title, the header, and the one with the changes, with blank lines between.
const FRAME: usize = 5;
/// The pauses between refreshes, unless one is given.
const INTERVAL: Duration = Duration::from_secs(5);
const SCAN_INTERVAL: Duration = Duration::from_mins(1);
/// How many of the tasks that are gone are named.
const NAMED: usize = 3;

/// The status of each task, by its ARN, or of each service, by its cluster's ARN and its name.
type Seen = HashMap<Box<str>, Box<str>>;

struct Snapshot {
    /// The rows that fit the screen.
    rows: Vec<Vec<Cell>>,
    seen: Seen,
    unreadable: usize,
    changed: usize,
}

pub(crate) async fn run(tables: &Tables, arguments: WatchArguments) -> Result<(), Failure> {
    let services = (arguments.what == Watched::Services).then_some(true);
    if !io::stdout().is_terminal() {
        let what = if services.is_some() { "services" } else { "tasks" };
        return Err(Failure::Usage(format!("watch needs a terminal: for a program, use `ecs-state {what} --json`")));
    }
    let filter = Filter { services, ..filter(tables, &arguments.filters, false, None).await? };
    // Once it has found out that there is no index, it does not ask again.
    let mut source = Source::quiet(tables, arguments.scan);
    let mut signals = Signals::new()?;
    let mut screen: Option<Screen> = None;
    let mut before: Option<Seen> = None;
    let signal = loop {
        let found =
            match signals.during(&mut screen, snapshot(&mut source, &filter, arguments.what, before.as_ref())).await? {
                Ok(found) => found,
                Err(signal) => break signal,
            };
        let interval = arguments.interval.unwrap_or(if source.scans() { SCAN_INTERVAL } else { INTERVAL });
        match (found, &mut screen) {
            // An error at the first refresh will not fix itself, so stop at once.
            (Err(failure), None) => return Err(failure),
            (Err(failure), Some(screen)) => {
                let width = size().map_or(usize::MAX, |(width, _)| width);
                let lines = wrap(&clean(&failure.to_string()), width).into_iter();
                let lines: Vec<String> = lines.map(|line| format!("{RED}{line}{RED:#}")).collect();
                screen.show(lines.join("\n"))?;
            }
            (Ok(found), shown) => {
                let shown = match shown {
                    Some(screen) => screen,
                    None => shown.insert(Screen::new()?),
                };
                shown.show(render(&found, arguments.what, before.as_ref(), interval, source.last_scan())?)?;
                before = Some(found.seen);
            }
        }
        if let Err(signal) = signals.during(&mut screen, tokio::time::sleep(interval)).await? {
            break signal;
        }
    };
    // Ctrl-C is the normal end of this command.
    match signal {
        SIGINT => Ok(()),
        signal => Err(Failure::Signal(SIGNAL + u8::try_from(signal as c_int).unwrap_or_default())),
    }
}

async fn snapshot<'f>(
    source: &mut Source<'f>,
    filter: &'f Filter,
    what: Watched,
    before: Option<&Seen>,
) -> Result<Snapshot, Failure> {
    let now = Utc::now();
    let mut snapshot = Snapshot { rows: Vec::new(), seen: Seen::new(), unreadable: 0, changed: 0 };
    if what == Watched::Services {
        let window = Window::new(services::SINCE, None)?;
        let (services, unreadable) = groups::read(source, filter, window, window.since).await?;
        snapshot.unreadable = unreadable.rows;
        for service in services {
            let Group { running, starting, stopping, is_crash_loop, last_stopped_at, .. } = service;
            let status = format!("{running} {starting} {stopping} {is_crash_loop} {last_stopped_at:?}");
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
            snapshot.unreadable += usize::from(!row.left_out.is_empty());
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

fn render(
    found: &Snapshot,
    what: Watched,
    before: Option<&Seen>,
    interval: Duration,
    scan: Option<&str>,
) -> io::Result<String> {
    let (one, what, columns) = match what {
        Watched::Tasks => ("task", "tasks", &COLUMNS[..COLUMNS.len() - 1]),
        Watched::Services => ("service", "services", services::COLUMNS),
    };
    let count = |number: usize| grouped(u64::try_from(number).unwrap_or(u64::MAX));
    let width = size().map(|(width, _)| width);
    let mut title =
        vec![(BOLD, format!("{} {}", count(found.seen.len()), if found.seen.len() == 1 { one } else { what }))];
    // Each look reads the whole table.
    title.extend(scan.map(|cost| (YELLOW, format!("scan: {cost}"))));
    let every = humantime::format_duration(interval);
    title.push((DIM, format!("{}, every {every}, until Ctrl-C", instant(Utc::now()))));
    let mut text = format!("{}\n\n", line(&title, width));
    let mut rendered = Vec::new();
    let mut table = Table::new(columns, width, &mut rendered);
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
        notes.push((RED, format!("{} can't be read in full: see `ecs-state {what}`", count(found.unreadable))));
    }
    if found.changed > 0 {
        notes.push((YELLOW, format!("{} new or changed", count(found.changed))));
    }
    let keys = before.into_iter().flat_map(HashMap::keys).map(|key| &**key);
    let mut gone: Vec<&str> = keys.filter(|key| !found.seen.contains_key(*key)).collect();
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
    let _ = write!(text, "\n{}", line(&notes, width));
    Ok(text)
}

/// Texts on one line, which ends at the width.
fn line(texts: &[(Style, String)], width: Option<usize>) -> String {
    let (mut line, mut used) = (String::new(), 0);
    for (style, text) in texts {
        let room = width.unwrap_or(usize::MAX).saturating_sub(used);
        if room == 0 {
            break;
        }
        let text = truncate(text, room);
        used += columns(&text) + GAP.len();
        let gap = if line.is_empty() { "" } else { GAP };
        let _ = write!(line, "{gap}{style}{text}{style:#}");
    }
    line
}

/// The terminal's alternate screen, without a cursor. Dropping it restores the terminal.
struct Screen {
    text: String,
}

impl Screen {
    fn new() -> io::Result<Self> {
        Self::enter()?;
        Ok(Self { text: String::new() })
    }

    fn enter() -> io::Result<()> {
        io::stdout().write_all(b"\x1b[?1049h\x1b[?25l")
    }

    fn leave() -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(b"\x1b[?25h\x1b[?1049l").and_then(|()| stdout.flush())
    }

    fn show(&mut self, text: String) -> io::Result<()> {
        self.text = text;
        draw(&self.text)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = Self::leave();
    }
}

fn draw(text: &str) -> io::Result<()> {
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

/// The signals that end `watch`, suspend it (Ctrl-Z) or resume it.
struct Signals(Vec<(unix::Signal, Signal)>);

impl Signals {
    fn new() -> io::Result<Self> {
        let listen = |signal| Ok((unix::signal(SignalKind::from_raw(signal as c_int))?, signal));
        let all = [SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT];
        all.into_iter().map(listen).collect::<io::Result<_>>().map(Self)
    }

    async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            let mut all = self.0.iter_mut();
            let received = all.find_map(|(stream, signal)| stream.poll_recv(context).is_ready().then_some(*signal));
            received.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Waits for `work`, or for a signal that ends it, and returns that signal. While the process is
    /// suspended, the terminal is as it was before.
    async fn during<T>(
        &mut self,
        screen: &mut Option<Screen>,
        work: impl Future<Output = T>,
    ) -> io::Result<Result<T, Signal>> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                signal = self.next() => match (signal, &mut *screen) {
                    (SIGTSTP, screen) => {
                        if screen.is_some() {
                            Screen::leave()?;
                        }
                        raise(SIGSTOP)?;
                    }
                    (SIGCONT, None) => (),
                    (SIGCONT, Some(screen)) => {
                        Screen::enter()?;
                        draw(&screen.text)?;
                    }
                    (signal, _) => return Ok(Err(signal)),
                },
                done = &mut work => return Ok(Ok(done)),
            }
        }
    }
}
