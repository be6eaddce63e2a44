//! Times and durations, as people write and read them.

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, TimeDelta, Utc};

/// Parses a duration before now, an instant, or a day, which starts at midnight UTC.
pub(crate) fn since(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        let ago = TimeDelta::from_std(ago).unwrap_or(TimeDelta::MAX);
        return Ok(Utc::now().checked_sub_signed(ago).unwrap_or(DateTime::UNIX_EPOCH));
    }
    if let Some(day) = text.parse::<NaiveDate>().ok().filter(|day| (0..=9999).contains(&day.year())) {
        return Ok(day.and_time(NaiveTime::MIN).and_utc());
    }
    // A later year would sort before all others in the index.
    let instant = text.parse::<DateTime<Utc>>().ok().filter(|time| (0..=9999).contains(&time.year()));
    instant.ok_or_else(|| "must be a duration such as 24h or 7d, or a time such as 2026-03-02T11:40:26Z".to_owned())
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
