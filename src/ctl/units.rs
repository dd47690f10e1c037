//! Numbers as people read them: at most five characters and a unit.
//!
//! No clock, no output.

/// Steps from one unit of bytes to the next.
const BYTES: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.2 MiB`: three digits or two, of binary units.
pub fn bytes(number: u64) -> String {
    let (mut value, mut unit) = (number as f64, 0);
    // What would round to 1024 is one of the next.
    while value >= 1023.5 && unit < BYTES.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 9.95);
    format!("{value:.digits$} {}", BYTES[unit])
}

/// `3 h 12 m`: the two largest units, from microseconds on.
pub fn duration(time_us: u64) -> String {
    let time_ms = time_us / 1_000;
    let (s, m, h) = (time_ms / 1_000, time_ms / 60_000, time_ms / 3_600_000);
    match time_us {
        0..1_000 => format!("{time_us} µs"),
        1_000..9_950 => format!("{:.1} ms", time_us as f64 / 1_000.0),
        9_950..1_000_000 => format!("{time_ms} ms"),
        1_000_000..60_000_000 => format!("{}.{} s", s, time_ms % 1_000 / 100),
        60_000_000..3_600_000_000 => format!("{m} m {} s", s % 60),
        3_600_000_000..86_400_000_000 => format!("{h} h {} m", m % 60),
        _ => format!("{} d {} h", h / 24, h % 24),
    }
}

/// `12`, `1.5`, `0.2`: so many a second.
pub fn rate(per_s: f64) -> String {
    match per_s {
        0.05..9.95 => format!("{per_s:.1}"),
        _ => count(per_s.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas() {
        let rows = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in rows {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn bytes_have_binary_units() {
        let rows = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (10_188, "9.9 KiB"),
            (10_240, "10 KiB"),
            (1_048_575, "1.0 MiB"),
            (1_258_291, "1.2 MiB"),
            (u64::MAX, "16777216 TiB"),
        ];
        for (number, text) in rows {
            assert_eq!(bytes(number), text, "{number}");
        }
    }

    #[test]
    fn durations_have_two_units() {
        let rows = [
            (0, "0 µs"),
            (999, "999 µs"),
            (1_000, "1.0 ms"),
            (9_949, "9.9 ms"),
            (9_950, "9 ms"),
            (999_999, "999 ms"),
            (1_000_000, "1.0 s"),
            (59_999_999, "59.9 s"),
            (60_000_000, "1 m 0 s"),
            (11_520_000_000, "3 h 12 m"),
            (90_000_000_000, "1 d 1 h"),
        ];
        for (time_us, text) in rows {
            assert_eq!(duration(time_us), text, "{time_us}");
        }
    }

    #[test]
    fn slow_rates_have_a_fraction() {
        let rows = [(0.0, "0"), (0.04, "0"), (0.25, "0.2"), (9.96, "10"), (12_345.6, "12,346")];
        for (per_s, text) in rows {
            assert_eq!(rate(per_s), text, "{per_s}");
        }
    }
}
