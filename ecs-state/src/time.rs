//! Times and durations, as people write and read them.

use std::fmt::{Display, Formatter, Result as FmtResult};

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, TimeDelta, Utc};

use crate::failure::Failure;

/// The start of a window: an instant, or a duration before its end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Since {
    Ago(TimeDelta),
    Instant(DateTime<Utc>),
}

impl Since {
    fn before(self, end: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Ago(duration) => end.checked_sub_signed(duration).unwrap_or(DateTime::UNIX_EPOCH),
            Self::Instant(time) => time,
        }
    }
}

/// A window of time, both ends included. Without an end, it is open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Window {
    pub(crate) since: DateTime<Utc>,
    pub(crate) until: Option<DateTime<Utc>>,
}

impl Window {
    /// A window that ends now if `until` is `None`.
    pub(crate) fn new(since: Since, until: Option<DateTime<Utc>>) -> Result<Self, Failure> {
        let since = since.before(until.unwrap_or_else(Utc::now));
        match until.filter(|until| *until < since) {
            Some(until) => {
                let (since, until) = (instant(since), instant(until));
                Err(Failure::Usage(format!("the window must start before it ends: {since} is after {until}")))
            }
            None => Ok(Self { since, until }),
        }
    }
}

impl Display for Window {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> FmtResult {
        write!(formatter, "since {}", instant(self.since))?;
        self.until.map_or(Ok(()), |until| write!(formatter, " and until {}", instant(until)))
    }
}

/// Parses a duration, an instant, or a day, which starts at midnight UTC.
pub(crate) fn since(text: &str) -> Result<Since, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(Since::Ago(TimeDelta::from_std(ago).unwrap_or(TimeDelta::MAX)));
    }
    let day = text.parse::<NaiveDate>().ok().map(|day| day.and_time(NaiveTime::MIN).and_utc());
    // A later year would sort before all others in the index.
    day.or_else(|| text.parse().ok())
        .filter(|time| (0..=9999).contains(&time.year()))
        .map(Since::Instant)
        .ok_or_else(|| "must be a duration such as 24h or 7d, or a time such as 2026-03-02T11:40:26Z".to_owned())
}

/// Parses the same, as a time in the past. A duration is before now.
pub(crate) fn past(text: &str) -> Result<DateTime<Utc>, String> {
    let now = Utc::now();
    let time = since(text)?.before(now);
    if time <= now { Ok(time) } else { Err("must be in the past".to_owned()) }
}

/// How long ago a time is, in its two largest units: `3h12m`. A time in the future is `0s` ago.
pub(crate) fn age(time: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    time.map_or_else(|| "–".to_owned(), |time| duration(now - time))
}

/// A duration in its two largest units.
pub(crate) fn duration(duration: TimeDelta) -> String {
    let seconds = duration.num_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let units = |large: i64, unit: char, small: i64, smaller: char| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{smaller}"),
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => units(minutes, 'm', seconds % 60, 's'),
        3600..86_400 => units(hours, 'h', minutes, 'm'),
        _ if days >= 100 => format!("{days}d"),
        _ => units(days, 'd', hours, 'h'),
    }
}

/// The same, with tenths of a second below a minute.
pub(crate) fn precise(delta: TimeDelta) -> String {
    match delta.num_milliseconds() {
        milliseconds @ 0..60_000 => format!("{}.{}s", milliseconds / 1000, milliseconds / 100 % 10),
        _ => duration(delta),
    }
}

/// A date and a time, to the second.
pub(crate) fn instant(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%SZ").to_string()
}
