//! Settings from a config file: the same names, the same checks. And what a builder shows of itself.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use graceful_tls::{
    BuildError, Builder, Config, Drain, GracefulTls, PlainHttp, TcpKeepalive, TcpKeepaliveSwitch,
    rustls::ServerConfig,
};
use rustls::{crypto::ring, pki_types::PrivateKeyDer};

/// Setters that no file can call, with the reason.
const OF_CODE: [(&str, &str); 7] = [
    ("connection_filter", "a closure"),
    ("config_for_client", "a closure"),
    ("http1", "a closure"),
    ("http2", "a closure"),
    ("observer", "code"),
    ("shutdown_with", "another server"),
    ("ticket_keys", "keys, or an error that is theirs"),
];

/// A value for each setting that has no parts, none of them the default.
const ALL: &str = r#"
    keep_alive_timeout = "75s"
    write_timeout = "500ms"
    header_timeout = "1m 1s"
    body_timeout = "2m"
    tunnel_timeout = "1h"
    handshake_timeout = "3s"
    lame_duck = "0s"
    shutdown_timeout = "20s"
    idle_grace = "4s"
    close_spread = "6s"
    keep_alive_header = "70s"
    max_connection_age = "7h"
    max_connection_age_grace = "8m"
    min_rate = 0
    max_control_frames = 9
    max_handshakes = 10
    max_connections = 11
    max_connections_per_client = 12
    lame_duck_goaway = true
    patient_goaway = true
    plain_http = "redirect"
    connect_info = false
    track_requests = true
    handlers_may_block = true
    max_requests = 13
    name = "public"
    [drain]
    total_timeout = "14s"
    idle_timeout = "15s"
    flush_timeout = "16s"
    max_bytes = 17
    max_connections = 8
    [tcp_keepalive]
    idle = "19s"
    interval = "20s"
    count = 21
"#;

fn builder() -> Builder {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut tls = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    GracefulTls::builder(tls)
}

fn config(text: &str) -> Config {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

fn by_setters(builder: Builder) -> Builder {
    let secs = Duration::from_secs;
    let drain = Drain::default()
        .total_timeout(secs(14))
        .idle_timeout(secs(15))
        .flush_timeout(secs(16))
        .max_bytes(17)
        .max_connections(8);
    let keepalive = TcpKeepalive::default()
        .idle(secs(19))
        .interval(secs(20))
        .count(21);
    builder
        .keep_alive_timeout(secs(75))
        .write_timeout(Duration::from_millis(500))
        .header_timeout(secs(61))
        .body_timeout(secs(120))
        .tunnel_timeout(secs(3600))
        .handshake_timeout(secs(3))
        .lame_duck(Duration::ZERO)
        .shutdown_timeout(secs(20))
        .idle_grace(secs(4))
        .close_spread(secs(6))
        .keep_alive_header(secs(70))
        .max_connection_age(secs(7 * 3600))
        .max_connection_age_grace(secs(8 * 60))
        .min_rate(0)
        .max_control_frames(9)
        .max_handshakes(10)
        .max_connections(11)
        .max_connections_per_client(12)
        .lame_duck_goaway(true)
        .patient_goaway(true)
        .plain_http(PlainHttp::Redirect)
        .connect_info(false)
        .track_requests(true)
        .handlers_may_block(true)
        .max_requests(13)
        .name("public")
        .drain(drain)
        .tcp_keepalive(keepalive)
}

fn setters() -> BTreeSet<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/builder.rs");
    let source = fs::read_to_string(source).unwrap();
    let joined = source.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut setters = BTreeSet::new();
    for function in joined.split("pub fn ").skip(1) {
        let (name, arguments) = function.split_once('(').unwrap();
        if arguments.trim_start().starts_with("mut self,") {
            setters.insert(name.split('<').next().unwrap().to_owned());
        }
    }
    assert!(
        setters.len() > 25,
        "this test reads too little: {setters:?}"
    );
    setters
}

/// The names of what is set, as a file would have them.
fn fields(config: &Config) -> BTreeSet<String> {
    let value = serde_json::to_value(config).unwrap();
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn every_setter_has_a_field() {
    let of_code = OF_CODE.map(|(name, _)| name.to_owned());
    let expected: BTreeSet<_> = &setters() - &BTreeSet::from(of_code);
    let unknown = toml::from_str::<Config>("nothing = 1").unwrap_err();
    for setter in &expected {
        let known = unknown.message().contains(&format!("`{setter}`"));
        assert!(known, "no field {setter} in src/config.rs: {unknown}");
    }
    assert_eq!(fields(&config(ALL)), expected, "ALL has every one of them");
}

#[test]
fn a_builder_shows_each_by_its_name() {
    let shown = format!("{:#?}", builder());
    for setter in setters() {
        let line = format!("\n    {setter}: ");
        let nested = format!("\n        {setter}: ");
        let is_shown = shown.contains(&line) || shown.contains(&nested);
        assert!(is_shown, "no {setter} in {shown}");
    }
    let set = format!("{:?}", by_setters(builder()));
    for value in ["min_rate: 0,", "write_timeout: 500ms", "\"public\""] {
        assert!(set.contains(value), "no {value} in {set}");
    }
}

#[test]
fn values_arrive() {
    let from_file = builder().config(&config(ALL));
    let by_setters = by_setters(builder());
    assert_eq!(format!("{from_file:#?}"), format!("{by_setters:#?}"));
}

#[test]
fn each_is_set_alone() {
    let defaults = format!("{:?}", builder());
    let all = serde_json::to_value(config(ALL)).unwrap();
    for (name, value) in all.as_object().unwrap() {
        let one = serde_json::from_value(serde_json::json!({ name: value })).unwrap();
        let set = format!("{:?}", builder().config(&one));
        assert_ne!(set, defaults, "{name} is the default, or not set");
    }
}

#[test]
fn what_is_left_out_stays() {
    let plain = || builder().drain(Drain::default().max_bytes(1));
    let shown = |builder: Builder| format!("{builder:?}");
    let nothing = plain().config(&config(""));
    assert_eq!(shown(nothing), shown(plain()));

    let file = config("drain.idle_timeout = '1s'\ntcp_keepalive.count = 3");
    let drain = Drain::default().max_bytes(1);
    let drain = drain.idle_timeout(Duration::from_secs(1));
    let expected = plain()
        .drain(drain)
        .tcp_keepalive(TcpKeepalive::default().count(3));
    assert_eq!(shown(plain().config(&file)), shown(expected));
}

#[test]
fn keepalive_can_be_off() {
    let off = config("tcp_keepalive = 'off'");
    assert_eq!(off.tcp_keepalive, Some(TcpKeepaliveSwitch::Off));
    let shown = format!("{:?}", builder().config(&off));
    assert!(shown.contains("tcp_keepalive: None"), "{shown}");
    let on = builder().tcp_keepalive(None);
    let shown = format!("{:?}", on.config(&config("tcp_keepalive = {}")));
    assert!(shown.contains("tcp_keepalive: Some("), "{shown}");
}

#[test]
fn what_cannot_work_has_the_errors_of_the_setters() {
    let error = |text| -> BuildError { builder().config(&config(text)).build().unwrap_err() };
    let of = |builder: Builder| builder.build().unwrap_err();
    let day = Duration::from_secs(2 * 24 * 60 * 60);
    for (text, expected) in [
        ("lame_duck = '2days'", of(builder().lame_duck(day))),
        ("min_rate = 7001", of(builder().min_rate(7001))),
        ("max_requests = 0", of(builder().max_requests(0))),
        (
            "max_connection_age_grace = '2s'",
            of(builder().max_connection_age_grace(Duration::from_secs(2))),
        ),
        (
            "drain.max_bytes = 0",
            of(builder().drain(Drain::default().max_bytes(0))),
        ),
        (
            "tcp_keepalive.count = 0",
            of(builder().tcp_keepalive(TcpKeepalive::default().count(0))),
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
    let zero = error("keep_alive_timeout = '0s'").to_string();
    assert_eq!(
        zero,
        "keep_alive_timeout is zero, which would end every connection at once: set at least 1 ms"
    );
}

#[test]
fn what_is_no_setting_is_refused_by_its_name() {
    let duration = "expected a duration with its unit, such as \"30s\" or \"500ms\"";
    for (text, words) in [
        (
            "lame_dukc = '1s'",
            ["unknown field `lame_dukc`", "`lame_duck`"],
        ),
        ("drain.max = 1", ["unknown field `max`", "`max_bytes`"]),
        (
            "tcp_keepalive.idel = '1s'",
            ["unknown field `idel`", "`idle`, `interval`"],
        ),
        (
            "tcp_keepalive = 'none'",
            ["string \"none\"", "expected settings, or \"off\""],
        ),
        ("lame_duck = '1'", ["string \"1\"", duration]),
        ("lame_duck = '-1s'", ["string \"-1s\"", duration]),
        ("lame_duck = 1", ["integer `1`", duration]),
        (
            "plain_http = 'maybe'",
            ["`maybe`", "`bad-request` or `redirect`"],
        ),
        ("max_handshakes = -1", ["-1", "usize"]),
    ] {
        let error = toml::from_str::<Config>(text).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{text}: no {word} in {error}");
        }
    }
}

#[test]
fn what_is_written_is_read_again() {
    for text in [ALL, "", "tcp_keepalive = 'off'"] {
        let config = config(text);
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&written).unwrap(), config);
    }
    let set = config("lame_duck = '250ms'");
    let written = serde_json::to_string(&set).unwrap();
    assert_eq!(written, r#"{"lame_duck":"250ms"}"#);
    let null = serde_json::from_str::<Config>(r#"{"lame_duck":null,"tcp_keepalive":null}"#);
    assert_eq!(null.unwrap(), Config::default());
}
