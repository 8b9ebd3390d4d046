use super::*;

/// Reads the right-hand side of an assignment.
fn read<T>(text: &str, read: impl FnOnce(&str, &DeValue<'_>) -> Read<T>) -> Read<T> {
    let value = DeValue::parse(text).expect("a value of TOML");
    read("key", value.get_ref())
}

fn label<T>(result: Read<T>) -> String {
    match result {
        Ok(_) => String::from("(accepted)"),
        Err(refusal) => refusal.label,
    }
}

fn time(text: &str) -> Read<Duration> {
    read(text, |key, value| duration(key, value, Duration::ZERO..=Duration::from_secs(24 * 3600)))
}

#[test]
fn durations_have_four_units() {
    let ms = |text| time(text).map(|duration| duration.as_millis());
    assert_eq!(ms("\"100ms\""), Ok(100));
    assert_eq!(ms("\"1s\""), Ok(1000));
    assert_eq!(ms("\"2m\""), Ok(120_000));
    assert_eq!(ms("\"1h\""), Ok(3_600_000));
}

#[test]
fn a_wrong_duration_says_what_to_write() {
    assert_eq!(label(time("\"1.5s\"")), "write \"1500ms\"");
    assert_eq!(label(time("\"1.5m\"")), "write \"90s\"");
    assert_eq!(label(time("1")), "write \"1s\"");
    assert_eq!(label(time("0.25")), "write \"250ms\"");
    assert_eq!(label(time("\"2\"")), "write \"2s\"");
}

#[test]
fn nothing_else_is_a_duration() {
    for text in [
        "",
        "s",
        "1 s",
        " 1s",
        "-1s",
        "+1s",
        "1S",
        "1sec",
        "1e3s",
        "infs",
        "nans",
        "1..2s",
        "9999999999999999h",
    ] {
        assert!(time(&format!("\"{text}\"")).is_err(), "{text:?}");
    }
    for text in ["nan", "inf", "-1", "-1.5", "1e300", "true", "[]", "{}", "1979-05-27"] {
        assert!(time(text).is_err(), "{text}");
    }
}

#[test]
fn an_interval_is_a_multiple_of_ten_milliseconds() {
    assert_eq!(read("\"40950ms\"", advertisement_interval), Ok(AdverInterval::MAX));
    assert_eq!(label(read("\"1005ms\"", advertisement_interval)), "write \"1s\"");
    assert!(read("\"40960ms\"", advertisement_interval).is_err());
    assert!(read("\"9ms\"", advertisement_interval).is_err());
}

#[test]
fn a_lease_is_a_tenth_of_a_second_to_an_hour() {
    assert_eq!(read("\"auto\"", lease), Ok(Lease::Auto));
    assert_eq!(read("\"off\"", lease), Ok(Lease::Off));
    assert_eq!(read("\"2s\"", lease), Ok(Lease::For(Duration::from_secs(2))));
    assert_eq!(read("\"700ms\"", lease), Ok(Lease::For(Duration::from_millis(700))));
    for text in ["\"99ms\"", "\"on\"", "2", "true", "\"2h\""] {
        assert!(read(text, lease).is_err(), "{text}");
    }
}

#[test]
fn priorities_are_1_to_255() {
    assert_eq!(read("1", priority), Ok(Priority::new(1)));
    assert_eq!(read("0xff", priority), Ok(Priority::OWNER));
    for text in ["0", "-1", "256", "99999999999999999999", "1.0", "\"100\""] {
        assert!(read(text, priority).is_err(), "{text}");
    }
}

#[test]
fn an_address_without_a_prefix_is_one_host() {
    let shown = |text| read(text, address).map(|address| format!("{}/{}", address.ip, address.prefix_len));
    assert_eq!(shown("\"192.0.2.201\"").as_deref(), Ok("192.0.2.201/32"));
    assert_eq!(shown("\"192.0.2.201/24\"").as_deref(), Ok("192.0.2.201/24"));
    assert_eq!(shown("\"2001:db8::201\"").as_deref(), Ok("2001:db8::201/128"));
}

#[test]
fn addresses_that_no_host_can_have_are_refused() {
    for text in [
        "224.0.0.18",
        "127.0.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "255.255.255.255",
        "ff02::12",
        "::1",
        "::",
        "::ffff:192.0.2.1",
        "192.0.2.1/33",
        "192.0.2.1/0",
        "192.0.2.1/",
        "192.0.2.1/-1",
        "192.0.2",
        "fe80::1%eth0",
        "",
    ] {
        assert!(read(&format!("\"{text}\""), address).is_err(), "{text:?}");
    }
}

#[test]
fn urls_are_taken_apart_and_put_together() {
    for (text, host, port, path) in [
        ("http://192.0.2.193/", "192.0.2.193", 80, "/"),
        ("https://www.example.net/v2/?n=1", "www.example.net", 443, "/v2/?n=1"),
        ("https://[2001:db8::1]:8443/", "2001:db8::1", 8443, "/"),
    ] {
        let url = read(&format!("\"{text}\""), url).expect("a right URL");
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), (host, port, path));
        assert_eq!(url.to_string(), text);
    }
    let without_path = read("\"http://localhost\"", url).expect("a right URL");
    assert_eq!(without_path.path, "/");
}

#[test]
fn wrong_urls_are_refused() {
    for text in [
        "ftp://a/",
        "a",
        "http://",
        "http:///x",
        "http://a:0/",
        "http://a:65536/",
        "http://a:/",
        "http://a:+80/",
        "http://u:p@a/",
        "http://a/#x",
        "http://a/ b",
        "http://a b/",
        "http://2001:db8::1/",
        "http://[::1/",
        "http://a/ü",
    ] {
        assert!(read(&format!("\"{text}\""), url).is_err(), "{text}");
    }
}

#[test]
fn interfaces_have_names_that_linux_allows() {
    assert!(read("\"enp0s31f6.100\"", interface).is_ok());
    for text in ["", "sixteen_letters_", "a/b", "a b", "eth0:1", ".", "..", "a\\tb"] {
        assert!(read(&format!("\"{text}\""), interface).is_err(), "{text}");
    }
}
