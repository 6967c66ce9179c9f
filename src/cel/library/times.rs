//! Parts of timestamps and durations.

use super::{Row, member, mismatch};
use crate::cel::budget::Budget;
use crate::cel::error::Fault;
use crate::cel::time;
use crate::cel::value::Val;
use chrono::{DateTime, Datelike, FixedOffset, Timelike, Utc};

pub(super) const ROWS: &[Row] = &[
    member("getFullYear", "timestamp -> int", year, "The year."),
    member("getFullYear", "timestamp, string -> int", year, "The year in a time zone."),
    member("getMonth", "timestamp -> int", month, "The month, from 0."),
    member("getMonth", "timestamp, string -> int", month, "The month in a time zone, from 0."),
    member("getDayOfYear", "timestamp -> int", day_of_year, "The day of the year, from 0."),
    member(
        "getDayOfYear",
        "timestamp, string -> int",
        day_of_year,
        "The day of the year in a time zone, from 0.",
    ),
    member("getDayOfMonth", "timestamp -> int", day_of_month, "The day of the month, from 0."),
    member(
        "getDayOfMonth",
        "timestamp, string -> int",
        day_of_month,
        "The day of the month in a time zone, from 0.",
    ),
    member("getDate", "timestamp -> int", date, "The day of the month, from 1."),
    member("getDate", "timestamp, string -> int", date, "The day of the month in a time zone, from 1."),
    member("getDayOfWeek", "timestamp -> int", day_of_week, "The day of the week, Sunday is 0."),
    member(
        "getDayOfWeek",
        "timestamp, string -> int",
        day_of_week,
        "The day of the week in a time zone, Sunday is 0.",
    ),
    member("getHours", "timestamp -> int", hours, "The hour."),
    member("getHours", "timestamp, string -> int", hours, "The hour in a time zone."),
    member("getHours", "duration -> int", hours, "All of the duration in hours."),
    member("getMinutes", "timestamp -> int", minutes, "The minute."),
    member("getMinutes", "timestamp, string -> int", minutes, "The minute in a time zone."),
    member("getMinutes", "duration -> int", minutes, "All of the duration in minutes."),
    member("getSeconds", "timestamp -> int", seconds, "The second."),
    member("getSeconds", "timestamp, string -> int", seconds, "The second in a time zone."),
    member("getSeconds", "duration -> int", seconds, "All of the duration in seconds."),
    member("getMilliseconds", "timestamp -> int", millis, "The millisecond of the second."),
    member(
        "getMilliseconds",
        "timestamp, string -> int",
        millis,
        "The millisecond of the second in a time zone.",
    ),
    member("getMilliseconds", "duration -> int", millis, "All of the duration in milliseconds."),
];

type Time = DateTime<FixedOffset>;

/// A part of a timestamp, in UTC or the zone that is given.
fn part(args: &[Val], of: fn(&Time) -> i64) -> Result<Val, Fault> {
    let local = match args {
        [Val::Timestamp(t)] => t.with_timezone(&Utc).fixed_offset(),
        [Val::Timestamp(t), Val::String(zone)] => time::in_zone(t, zone)?,
        _ => return Err(mismatch(args)),
    };
    Ok(Val::Int(of(&local)))
}

/// A part of a timestamp, or a whole duration in a unit of so many nanoseconds.
fn part_or_whole(args: &[Val], of: fn(&Time) -> i64, unit: i64) -> Result<Val, Fault> {
    match args {
        [Val::Duration(d)] => Ok(Val::Int(d / unit)),
        _ => part(args, of),
    }
}

fn year(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    part(args, |t| i64::from(t.year()))
}
fn month(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    part(args, |t| i64::from(t.month0()))
}
fn day_of_year(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    part(args, |t| i64::from(t.ordinal0()))
}
fn day_of_month(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    part(args, |t| i64::from(t.day0()))
}
fn date(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    part(args, |t| i64::from(t.day()))
}
fn day_of_week(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    part(args, |t| i64::from(t.weekday().num_days_from_sunday()))
}
fn hours(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    part_or_whole(args, |t| i64::from(t.hour()), 3_600_000_000_000)
}
fn minutes(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    part_or_whole(args, |t| i64::from(t.minute()), 60_000_000_000)
}
fn seconds(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    part_or_whole(args, |t| i64::from(t.second()), 1_000_000_000)
}
fn millis(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    part_or_whole(args, |t| i64::from(t.timestamp_subsec_millis()), 1_000_000)
}
