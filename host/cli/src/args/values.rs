//! How values are written on the command line.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
    time::Duration,
};

use reelflow_config::moment::Calendar;
use reelflow_core::time::EventTime;

/// What may stand behind a topic's name.
pub(super) fn suffix(text: &str) -> Result<String, String> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match !text.is_empty() && text.len() <= 32 && text.bytes().all(is_good) {
        true => Ok(text.to_owned()),
        false => Err("must be up to 32 letters, digits, dots, dashes or underscores, such as .fixed".to_owned()),
    }
}

pub(super) fn pipeline_name(text: &str) -> Result<String, String> {
    reelflow_config::pipeline_name(text).map(|()| text.to_owned())
}

/// `9464` or `:9464` of this machine alone, or `ADDRESS:PORT`; port 0 is a free one.
pub(super) fn listening(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text).parse::<u16>();
    match port {
        Ok(port) => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        Err(_) => text.to_socket_addrs().ok().and_then(|mut all| all.next()).ok_or_else(|| {
            "must be a port, such as 9464, or an address of this machine and a port, such as 0.0.0.0:9464".to_owned()
        }),
    }
}

/// `90s`, `10m`: not nothing.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match u64::try_from(reelflow_config::duration_ms(text)?) {
        Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms)),
        _ => Err("must be longer than nothing".to_owned()),
    }
}

/// As [`listening`], but of this machine alone: what is said there is not encrypted.
pub(super) fn of_this_machine(text: &str) -> Result<SocketAddr, String> {
    let address = listening(text)?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err("must be an address of this machine alone, such as 127.0.0.1:7070: a token would be seen on any network; \
                      from elsewhere use a tunnel (ssh -L), or a proxy with TLS"
            .to_owned()),
    }
}

/// Where somebody listens: as [`listening`], maybe as a URL.
pub(super) fn asked(text: &str) -> Result<SocketAddr, String> {
    listening(text.strip_prefix("http://").map_or(text, |rest| rest.trim_end_matches('/')))
}

/// A time in RFC 3339, a date or a time of UTC, or ms since 1970.
pub(super) fn event_time(text: &str) -> Result<EventTime, String> {
    Calendar::utc().read(text).map_err(|_| "must be a time such as 2026-01-03T12:00:00Z, a date, or ms since 1970".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_this_machine_alone() {
        for (text, address) in [
            ("9464", Some("127.0.0.1:9464")),
            (":0", Some("127.0.0.1:0")),
            ("0.0.0.0:9464", Some("0.0.0.0:9464")),
            ("[::1]:9464", Some("[::1]:9464")),
            ("70000", None),
            ("0.0.0.0", None),
            ("", None),
        ] {
            assert_eq!(listening(text).ok().map(|address| address.to_string()).as_deref(), address, "{text}");
        }
    }

    #[test]
    fn a_duration_has_a_unit_and_a_length() {
        for (text, ms) in [("90s", Some(90_000)), ("10m", Some(600_000)), ("0s", None), ("90", None), ("-1s", None)] {
            assert_eq!(duration(text).ok(), ms.map(Duration::from_millis), "{text}");
        }
        assert_eq!(duration("5min").unwrap_err(), "a duration is a whole number and one of ms, s, m, h, d: did you mean 5m?");
    }

    #[test]
    fn changes_are_taken_from_this_machine_alone() {
        for (text, is_taken) in
            [("7070", true), ("127.0.0.1:7070", true), ("[::1]:0", true), ("0.0.0.0:7070", false), ("10.0.0.7:7070", false)]
        {
            assert_eq!(of_this_machine(text).is_ok(), is_taken, "{text}");
        }
        for text in ["http://127.0.0.1:7070", "http://127.0.0.1:7070/", "127.0.0.1:7070", ":7070", "7070"] {
            assert_eq!(asked(text).map(|address| address.to_string()).as_deref(), Ok("127.0.0.1:7070"), "{text}");
        }
        assert!(asked("https://127.0.0.1:7070").is_err());
    }

    #[test]
    fn times_are_told_in_three_ways() {
        for (text, ms) in [
            ("2026-01-01T00:00:00Z", Some(1_767_225_600_000)),
            ("2026-01-01T01:00:00+01:00", Some(1_767_225_600_000)),
            ("2026-01-01", Some(1_767_225_600_000)),
            ("1969-12-31", Some(-86_400_000)),
            ("-5", Some(-5)),
            ("yesterday", None),
            ("2026-13-01", None),
            ("9000000000000000", None),
        ] {
            assert_eq!(event_time(text).ok().map(|time| time.0), ms, "{text}");
        }
    }
}
