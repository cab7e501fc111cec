//! Restarts under load: what clients see of them, and what happens when the new process does not
//! get ready.

use std::{
    cell::Cell,
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    process::Command,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use processes::{
    SOON, example, kill, lives,
    load::Load,
    restarting::{Site, words_after},
};
use rustls::{ClientConfig, HandshakeKind};
use wire::{AnyCertificate, Client, Options};

/// A load that a small machine can serve beside other tests.
const LIGHT: [&str; 4] = ["--rate", "200", "--connections", "16"];

#[test]
fn five_restarts_lose_nothing() {
    let site = Site::start(&[]);
    let load = Load::start(site.addr, &["--rate", "300"]);
    for _ in 0..5 {
        let (old, new) = site.restart();
        assert_ne!(old, new);
        sleep(Duration::from_millis(500));
    }
    let totals = load.finish();
    assert!(totals.is_lossless(), "{}\n{}", totals.story(), site.said());
    assert!(totals.count("requests") > 1000, "{}", totals.story());
    site.signal("TERM");
    site.wait_for_times("shutdown took", 6);
}

#[test]
fn every_socket_is_handed_over() {
    let site = Site::start(&["--listen", "127.0.0.1:0"]);
    let said = site.said();
    let (_, addresses) = said.split_once("listening on ").unwrap();
    let (addresses, _) = addresses.split_once(" (pid").unwrap();
    let addresses: Vec<SocketAddr> = addresses.split(' ').map(|a| a.parse().unwrap()).collect();
    assert_eq!(addresses.len(), 2, "{said}");
    site.restart();
    for addr in addresses {
        let mut client = Client::connect_with(addr, &Options::new().http1()).unwrap();
        assert_eq!(client.get("/").unwrap().text(), "hello\n");
    }
}

#[test]
fn sighup_restarts_too() {
    let site = Site::start(&[]);
    site.signal("HUP");
    site.wait_for_times("listening on ", 2);
    site.wait_for("shutdown took");
    assert_eq!(get(&site), "hello\n");
}

#[test]
fn a_program_that_can_not_be_started() {
    let site = Site::start(&[]);
    fs::remove_file(site.path("server")).unwrap();
    site.fails_to_restart("server can't be started: No such file or directory");
    site.replace_by(b"\x7fELF and then nothing", 0o644);
    site.fails_to_restart("server can't be started: Permission denied");
    site.replace_by(b"\x7fELF and then nothing", 0o755);
    site.fails_to_restart("server can't be started: Exec format error");
    // And when it is mended, it restarts after all.
    site.repair();
    let (old, new) = site.restart();
    assert_ne!(old, new);
    assert_eq!(get(&site), "hello\n");
}

#[test]
fn a_certificate_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let cert = folder.path().join("cert.pem").display().to_string();
    let key = folder.path().join("key.pem").display().to_string();
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let site = Site::start(&["--cert", &cert, "--key", &key]);
    fs::write(&cert, "no certificate").unwrap();
    site.fails_to_restart(&format!(
        "--cert and --key: {cert}: there is no certificate in it"
    ));
    assert_eq!(get(&site), "hello\n");
}

#[test]
fn a_new_process_that_does_not_get_ready() {
    let site = Site::start(&["--ready-within-ms=2000"]);
    let load = Load::start(site.addr, &LIGHT);
    site.replace("echo it crashed; exit 3");
    site.fails_to_restart(
        "the new process exited or was killed before it was ready (exit status: 3)",
    );
    site.replace("exec sleep 60");
    site.fails_to_restart("the new process was not ready within 2s, and was killed");
    // Nor is one that closes what it could say so by.
    site.replace(
        "n=$((LISTEN_FDS_FIRST_FD + LISTEN_FDS - 1)); exec bash -c \"exec $n>&-; exec sleep 60\"",
    );
    site.fails_to_restart("the new process was not ready within 2s, and was killed");
    site.repair();
    site.restart();
    let totals = load.finish();
    assert!(totals.is_lossless(), "{}\n{}", totals.story(), site.said());
}

#[test]
fn a_new_process_that_is_killed() {
    let site = Site::start(&[]);
    let load = Load::start(site.addr, &LIGHT);
    site.replace("echo $$ > killed; exec sleep 60");
    let old = site.pid();
    kill("USR2", old);
    let new = eventually(|| {
        fs::read_to_string(site.path("killed"))
            .ok()?
            .trim()
            .parse()
            .ok()
    });
    kill("KILL", new);
    site.wait_for(
        "this process goes on serving: the new process exited or was killed before it was ready",
    );
    assert_eq!(site.pid(), old);
    let totals = load.finish();
    assert!(totals.is_lossless(), "{}\n{}", totals.story(), site.said());
}

/// The second may be for something that came too late for the first.
#[test]
fn two_restarts_at_once() {
    let site = Site::start(&[]);
    let load = Load::start(site.addr, &LIGHT);
    site.replace("sleep 1; exec \"$0.real\" \"$@\"");
    let old = site.pid();
    kill("USR2", old);
    sleep(Duration::from_millis(300));
    kill("USR2", old);
    kill("HUP", old);
    site.wait_for("a restart is under way already, another follows");
    site.wait_for_times("listening on ", 3);
    site.wait_gone(old);
    let said = site.said();
    assert_eq!(said.matches("listening on ").count(), 3, "{said}");
    let totals = load.finish();
    assert!(totals.is_lossless(), "{}\n{said}", totals.story());
}

#[test]
fn one_that_was_asked_for_during_a_failed_restart_is_tried() {
    let site = Site::start(&[]);
    site.replace("sleep 1; exit 3");
    let old = site.pid();
    kill("USR2", old);
    sleep(Duration::from_millis(300));
    kill("USR2", old);
    site.wait_for("a restart is under way already, another follows");
    site.repair();
    site.wait_for_times("listening on ", 2);
    assert_ne!(site.pid(), old);
}

/// Nobody accepts from a socket that stays open, and so whoever comes would wait and then be reset.
#[test]
fn no_socket_is_open_once_it_is_not_accepted_from() {
    let refused = |addr| eventually(|| TcpStream::connect(addr).err()).kind();
    for signal in ["TERM", "USR2"] {
        let site = Site::start(&["--undo-within-ms=0", "--lame-duck-ms=0"]);
        let old = site.pid();
        let _streaming = listening_for_ever(&site);
        site.replace("exec \"$0.real\" --listen 127.0.0.2:0 --pid-file pid");
        kill(signal, old);
        assert_eq!(refused(site.addr), ErrorKind::ConnectionRefused);
        assert!(lives(old), "{}", site.said());
    }
}

/// The first takes over again, and the third, which the second had started, from it.
#[test]
fn a_third_process_takes_over_from_the_first() {
    let site = Site::start(&["--undo-within-ms=20000"]);
    let first = site.pid();
    kill("USR2", first);
    site.is_replaced(1);
    let second = site.pid();
    site.replace("touch started; sleep 1; exec \"$0.real\" \"$@\"");
    kill("USR2", second);
    eventually(|| site.path("started").exists().then_some(()));
    kill("KILL", second);
    site.wait_for("this one takes over again");
    site.wait_for("a newer process serves: finishing what is in flight here");
    assert!(![first, second].contains(&site.pid()));
    assert_eq!(get(&site), "hello\n");
    kill("TERM", site.pid());
    let refused = eventually(|| TcpStream::connect(site.addr).err());
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

/// The file of a Unix socket is removed only if it is one, and nobody is behind it.
#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("precious");
    fs::write(&path, "precious").unwrap();
    let ended = Command::new(example("restart"))
        .arg(format!("--listen=unix:{}", path.display()))
        .output()
        .unwrap();
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("give a path in a folder"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

/// It is the process that serves which counts, and not the script that has started it.
#[test]
fn a_script_that_ends_is_not_the_end_of_what_it_has_started() {
    let site = Site::start(&["--undo-within-ms=20000"]);
    let old = site.pid();
    site.replace("setsid \"$0.real\" \"$@\" & sleep 2");
    kill("USR2", old);
    site.is_replaced(1);
    let new = site.pid();
    sleep(Duration::from_secs(3));
    assert!(!site.said().contains("takes over again"), "{}", site.said());
    // Nor is a restart the script's business.
    site.repair();
    kill("USR2", old);
    site.is_replaced(2);
    let newest = site.pid();
    assert!(![old, new].contains(&newest));
    kill("KILL", newest);
    site.wait_for("the new process has died (signal: 9 (SIGKILL)), this one takes over again");
    assert_eq!(get(&site), "hello\n");
    eventually(|| (site.pid() == new).then_some(()));
}

/// The first serves again, and has started another: there is no room for the one that the dead one had started.
#[test]
fn an_orphan_that_comes_too_late_does_not_serve() {
    let site = Site::start(&["--undo-within-ms=20000"]);
    let first = site.pid();
    kill("USR2", first);
    site.is_replaced(1);
    let second = site.pid();
    site.replace("touch started; sleep 3; exec \"$0.real\" \"$@\"");
    kill("USR2", second);
    eventually(|| site.path("started").exists().then_some(()));
    kill("KILL", second);
    site.wait_for("this one takes over again");
    site.repair();
    kill("USR2", first);
    site.is_replaced(2);
    site.wait_for("it has not waited for this one any longer, and serves on");
    let said = site.said();
    assert_eq!(said.matches("listening on ").count(), 3, "{said}");
}

/// Whatever its status: it is not the one that serves.
#[test]
fn a_new_process_that_comes_too_late_does_not_serve() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.sock");
    let listen = format!("--listen=unix:{}", path.display());
    let site = Site::start(&["--ready-within-ms=1000", &listen]);
    // The shell is killed, and not what it waits for.
    site.replace("(sleep 2; exec \"$0.real\" \"$@\") & wait");
    site.fails_to_restart("the new process was not ready within 1s, and was killed");
    site.wait_for(
        "the process before did not hand over: it has not waited for this one any longer",
    );
    for _ in 0..10 {
        assert_eq!(get(&site), "hello\n");
    }
    assert_eq!(
        site.said().matches("listening on ").count(),
        1,
        "{}",
        site.said()
    );
    // Nor does it take away what is the other's.
    assert!(UnixStream::connect(&path).is_ok());
    assert!(lives(site.pid()));
}

#[test]
fn a_new_process_that_is_told_to_stop_is_not_undone() {
    let site = Site::start(&["--undo-within-ms=20000", "--shutdown-timeout-ms=100"]);
    let old = site.pid();
    kill("USR2", old);
    site.is_replaced(1);
    let new = site.pid();
    kill("TERM", new);
    site.wait_gone(new);
    let refused = eventually(|| TcpStream::connect(site.addr).err());
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(!site.said().contains("takes over"), "{}", site.said());
}

#[test]
fn why_a_check_has_failed() {
    let site = Site::start(&[]);
    for (body, why) in [
        (
            "kill -KILL $$",
            "asked to check its settings: signal: 9 (SIGKILL)",
        ),
        ("exit 4", "asked to check its settings: exit status: 4"),
        (
            "yes | head -c 50000000 >&2; echo error: no room >&2; sleep 60 & exit 1",
            "asked to check its settings: no room",
        ),
    ] {
        site.replace_by(format!("#!/bin/sh\n{body}\n").as_bytes(), 0o755);
        site.fails_to_restart(why);
    }
}

/// As systemd does at a stop, which has no hours.
#[test]
fn a_replaced_process_that_is_told_to_stop_has_the_time_of_a_stop() {
    let site = Site::start(&[
        "--undo-within-ms=0",
        "--shutdown-timeout-ms=1000",
        "--old-process-timeout-ms=3600000",
    ]);
    let old = site.pid();
    let mut streaming = listening_for_ever(&site);
    kill("USR2", old);
    site.is_replaced(1);
    sleep(Duration::from_millis(1500));
    assert!(lives(old), "{}", site.said());
    kill("TERM", old);
    let ending = streaming.read_until_end(Duration::from_secs(5));
    assert!(ending.is_proper(), "{ending:?}");
    site.wait_gone(old);
    assert_eq!(get(&site), "hello\n");
}

#[test]
fn the_old_process_passes_restarts_on() {
    let site = Site::start(&["--undo-within-ms=3000"]);
    let old = site.pid();
    kill("USR2", old);
    site.is_replaced(1);
    kill("USR2", old);
    site.wait_for("this process has been replaced: passing it on to the next");
    site.is_replaced(2);
    // One SIGTERM does not hurry what finishes anyway.
    kill("TERM", old);
    sleep(Duration::from_millis(300));
    assert!(lives(old), "{}", site.said());
    site.wait_gone(old);
    assert_eq!(get(&site), "hello\n");
}

#[test]
fn the_old_process_accepts_nothing_more() {
    let site = Site::start(&["--lame-duck-ms", "3000"]);
    let old = site.pid();
    kill("USR2", old);
    site.is_replaced(1);
    for _ in 0..40 {
        let mut client = Client::connect_with(site.addr, &Options::new().http1()).unwrap();
        let answer = client.get("/").unwrap();
        assert!(
            !answer.says_close(),
            "answered by the old process: {answer:?}"
        );
    }
    assert!(lives(old), "{}", site.said());
}

/// Or clients would wait in its queue, where nobody accepts them.
#[test]
fn no_socket_is_left_open_by_the_old_process() {
    let site = Site::start(&["--lame-duck-ms", "0"]);
    let old = site.pid();
    let mut client = Client::connect_with(site.addr, &Options::new().http1()).unwrap();
    client
        .send("GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    assert!(!client.read_some(Duration::from_secs(5)).is_empty());
    kill("USR2", old);
    site.is_replaced(1);
    let new = site.pid();
    kill("TERM", new);
    site.wait_gone(new);
    let refused = || TcpStream::connect(site.addr).err();
    let refused = eventually(refused);
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(lives(old), "{}", site.said());
}

#[test]
fn sigterm_during_a_restart() {
    let site = Site::start(&[]);
    let load = Load::start(site.addr, &LIGHT);
    site.replace("touch started; sleep 1; exec \"$0.real\" \"$@\"");
    let old = site.pid();
    kill("USR2", old);
    eventually(|| site.path("started").exists().then_some(()));
    kill("TERM", old);
    site.wait_for("stopping during a restart: if the new process gets ready, it serves on");
    site.wait_for_times("listening on ", 2);
    site.wait_gone(old);
    assert_ne!(site.pid(), old);
    let totals = load.finish();
    assert!(totals.is_lossless(), "{}\n{}", totals.story(), site.said());
}

#[test]
fn sigterm_before_there_is_a_new_process() {
    let site = Site::start(&[]);
    site.replace_by(b"#!/bin/sh\ntouch \"${0%/*}/checking\"; sleep 60", 0o755);
    let old = site.pid();
    kill("USR2", old);
    eventually(|| site.path("checking").exists().then_some(()));
    kill("TERM", old);
    site.wait_for("restart failed, and nobody serves any more: it was told to stop first");
    site.wait_gone(old);
    assert!(!site.path("pid").exists());
}

#[test]
fn the_old_process_is_killed_during_a_restart() {
    let site = Site::start(&[]);
    site.replace("touch started; sleep 1; exec \"$0.real\" \"$@\"");
    let old = site.pid();
    kill("USR2", old);
    eventually(|| site.path("started").exists().then_some(()));
    kill("KILL", old);
    site.wait_for("the process before is gone: serving without a word to it");
    site.wait_for_times("listening on ", 2);
    assert_eq!(get(&site), "hello\n");
}

#[test]
fn a_client_that_holds_a_stream_past_the_deadline() {
    let site = Site::start(&["--shutdown-timeout-ms", "1000"]);
    let load = Load::start(site.addr, &LIGHT);
    let mut client = Client::connect_with(site.addr, &Options::new().http1()).unwrap();
    client
        .send("GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    assert!(!client.read_some(Duration::from_secs(5)).is_empty());
    site.restart();
    let said = site.said();
    assert!(said.contains("(deadline reached)"), "{said}");
    let ending = client.read_until_end(Duration::from_secs(5));
    assert!(ending.is_proper(), "{ending:?}");
    let totals = load.finish();
    assert!(totals.is_lossless(), "{}\n{said}", totals.story());
}

#[test]
fn a_log_on_a_full_disk() {
    let site = Site::start(&["--log-file", "/dev/full"]);
    let load = Load::start(site.addr, &LIGHT);
    site.restart();
    let said = site.said();
    assert!(
        said.contains(
            "error: --log-file /dev/full: No space left on device (os error 28): logging to"
        ),
        "{said}"
    );
    let totals = load.finish();
    assert!(totals.is_lossless(), "{}\n{said}", totals.story());
}

#[test]
fn standard_error_on_a_full_disk() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let site = Site::start_with(&[], |command| command.stderr(full));
    let load = Load::start(site.addr, &LIGHT);
    site.restart();
    site.replace("exit 3");
    site.signal("USR2");
    sleep(Duration::from_secs(1));
    site.repair();
    site.restart();
    let totals = load.finish();
    assert!(totals.is_lossless(), "{}\n{}", totals.story(), site.said());
}

/// A client whose answer goes on for ever.
fn listening_for_ever(site: &Site) -> Client {
    let mut client = Client::connect_with(site.addr, &Options::new().http1()).unwrap();
    client
        .send("GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    assert!(!client.read_some(Duration::from_secs(5)).is_empty());
    client
}

#[test]
fn a_new_process_that_dies_soon_is_undone() {
    let site = Site::start(&["--undo-within-ms=20000"]);
    let old = site.pid();
    let mut streaming = listening_for_ever(&site);
    kill("USR2", old);
    site.is_replaced(1);
    let new = site.pid();
    assert_ne!(new, old);
    kill("KILL", new);
    site.wait_for("the new process has died (signal: 9 (SIGKILL)), this one takes over again");
    site.wait_for("the shutdown was called off, serving again");
    eventually(|| (site.pid() == old).then_some(()));
    // Whoever is there has noticed nothing, and clients are not told to go any more.
    assert!(!streaming.read_some(Duration::from_secs(5)).is_empty());
    let mut client = Client::connect_with(site.addr, &Options::new().http1()).unwrap();
    assert!(!client.get("/").unwrap().says_close());
    drop(streaming);

    kill("USR2", old);
    site.is_replaced(2);
    assert_ne!(site.pid(), old);
    assert_eq!(get(&site), "hello\n");
}

/// Clients that come while nobody accepts wait for the one that takes over.
#[test]
fn nobody_is_turned_away_while_a_dead_process_is_noticed() {
    let site = Site::start(&["--undo-within-ms=20000"]);
    kill("USR2", site.pid());
    site.is_replaced(1);
    kill("KILL", site.pid());
    for _ in 0..50 {
        assert_eq!(get(&site), "hello\n");
    }
}

#[test]
fn a_new_process_that_dies_late_is_not_undone() {
    let site = Site::start(&["--undo-within-ms=0"]);
    let old = site.pid();
    let _streaming = listening_for_ever(&site);
    kill("USR2", old);
    site.is_replaced(1);
    sleep(Duration::from_millis(200));
    kill("KILL", site.pid());
    site.wait_for("the new process has died (signal: 9 (SIGKILL)), too late");
    let refused = eventually(|| TcpStream::connect(site.addr).err());
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(lives(old), "{}", site.said());
}

/// The third has the sockets: that the second ends, however it does, is nothing to the first.
#[test]
fn one_that_was_replaced_itself_is_not_taken_over_from() {
    let site = Site::start(&["--undo-within-ms=20000"]);
    let first = site.pid();
    kill("USR2", first);
    site.is_replaced(1);
    let second = site.pid();
    kill("USR2", second);
    site.is_replaced(2);
    kill("KILL", second);
    site.wait_gone(second);
    sleep(Duration::from_millis(300));
    assert_eq!(get(&site), "hello\n");
    assert!(!site.said().contains("takes over again"), "{}", site.said());
    assert!(![first, second].contains(&site.pid()));
}

#[test]
fn long_lived_requests_stay_with_the_old_process() {
    let site = Site::start(&[
        "--undo-within-ms=0",
        "--shutdown-timeout-ms=1000",
        "--old-process-timeout-ms=60000",
    ]);
    let old = site.pid();
    let mut streaming = listening_for_ever(&site);
    let mut idle = Client::connect_with(site.addr, &Options::new().http1()).unwrap();
    idle.get("/").unwrap();
    kill("USR2", old);
    site.is_replaced(1);
    // Who is idle goes within the time-out of a shutdown.
    let ending = idle.read_until_end(Duration::from_secs(5));
    assert!(ending.is_proper(), "{ending:?}");
    sleep(Duration::from_secs(2));
    assert!(!streaming.read_some(Duration::from_secs(5)).is_empty());
    assert!(lives(old), "{}", site.said());
    site.wait_for("draining: 1 connections, 1 requests in flight");
    site.wait_for("s left, open longest: in_use http/1 from 127.0.0.1:");
    drop(streaming);
    site.wait_gone(old);
}

#[test]
fn the_oldest_of_too_many_old_processes_ends() {
    let site = Site::start(&["--undo-within-ms=0", "--max-old-processes=2"]);
    let mut held = Vec::new();
    for restarts in 1..=3 {
        held.push((site.pid(), listening_for_ever(&site)));
        kill("USR2", site.pid());
        site.is_replaced(restarts);
    }
    let (oldest, mut client) = held.remove(0);
    let ending = client.read_until_end(Duration::from_secs(5));
    assert!(ending.is_proper(), "{ending:?}");
    site.wait_gone(oldest);
    site.wait_for("more than 2 old processes: this is the oldest, it ends now");
    for (pid, client) in &mut held {
        assert!(!client.read_some(Duration::from_secs(5)).is_empty());
        assert!(lives(*pid), "{}", site.said());
    }
    // One that has ended by itself counts no more.
    let ended = site.said().matches("shutdown took").count();
    drop(held.remove(0));
    site.wait_for_times("shutdown took", ended + 2);
    kill("USR2", site.pid());
    site.is_replaced(4);
    assert!(!held[0].1.read_some(Duration::from_secs(5)).is_empty());
}

/// Another program would be killed at once, and not waited for.
#[test]
fn a_new_process_that_lies() {
    let site = Site::start(&[]);
    site.replace(
        "n=$((LISTEN_FDS_FIRST_FD + LISTEN_FDS - 1)); exec bash -c \"echo OK >&$n; exec sleep 60\"",
    );
    site.fails_to_restart("the new process said \"OK\" instead of being ready, and was killed");
    site.repair();
    site.restart();
}

/// It does not hold what it has been passed, and so it is not waited for either.
#[test]
fn a_new_process_that_leaves_another_behind() {
    let site = Site::start(&[]);
    site.replace("sleep 5 & exit 3");
    let begun = Instant::now();
    site.fails_to_restart("before it was ready (exit status: 3)");
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[test]
fn a_new_process_may_listen_elsewhere() {
    let site = Site::start(&["--undo-within-ms=0"]);
    let old = site.pid();
    let load = Load::start(site.addr, &LIGHT);
    // The last of an option holds for all but this one, of which there may be many.
    site.replace("exec \"$0.real\" --listen 127.0.0.2:0 --pid-file pid");
    kill("USR2", old);
    let said = site.wait_for("listening on 127.0.0.2:");
    let elsewhere = said.split("listening on ").last().unwrap();
    let elsewhere = elsewhere.split(' ').next().unwrap().parse().unwrap();
    let mut client = Client::connect_with(elsewhere, &Options::new().http1()).unwrap();
    assert_eq!(client.get("/").unwrap().text(), "hello\n");
    site.wait_gone(old);
    let refused = TcpStream::connect(site.addr).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    drop(load);
}

/// The same port for both: `[::]` takes IPv4 clients only where nothing else does.
#[test]
fn ipv4_and_ipv6_are_handed_over() {
    let free = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let (v4, v6) = (format!("0.0.0.0:{port}"), format!("[::]:{port}"));
    let site = Site::start(&["--undo-within-ms=0", "--listen", &v4, "--listen", &v6]);
    for _ in 0..2 {
        for addr in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
            let addr = addr.parse().unwrap();
            let mut client = Client::connect_with(addr, &Options::new().http1()).unwrap();
            assert_eq!(client.get("/").unwrap().text(), "hello\n");
        }
        site.restart();
    }
}

#[test]
fn a_unix_socket_is_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.sock");
    let listen = format!("unix:{}", path.display());
    // What a process that was killed has left behind.
    drop(UnixListener::bind(&path).unwrap());
    let site = Site::start(&["--undo-within-ms=0", "--listen", &listen]);
    let said = site.said();
    assert!(said.contains(&listen), "{said}");
    for _ in 0..2 {
        assert!(UnixStream::connect(&path).is_ok());
        site.restart();
    }
    assert!(UnixStream::connect(&path).is_ok());
    let last = site.pid();
    kill("TERM", last);
    site.wait_gone(last);
    assert!(!path.exists());
}

/// Makes a request on a connection of its own; whether its session was resumed.
fn resumes(addr: SocketAddr, config: &Arc<ClientConfig>) -> bool {
    let name = "localhost".try_into().unwrap();
    let tls = rustls::ClientConnection::new(config.clone(), name).unwrap();
    let mut stream = rustls::StreamOwned::new(tls, TcpStream::connect(addr).unwrap());
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("hello\n"), "{answer}");
    stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
}

#[test]
fn sessions_survive_restarts() {
    let site = Site::start(&["--undo-within-ms=0"]);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider.clone())))
            .with_no_client_auth();
        let config = Arc::new(config);
        assert!(!resumes(site.addr, &config));
        for _ in 0..3 {
            site.restart();
            assert!(resumes(site.addr, &config), "{version:?}");
        }
    }
}

/// When the first process of a container ends, so do all the others.
#[test]
fn process_1_is_not_replaced() {
    let folder = processes::restarting::installed();
    let mut command = Command::new("unshare");
    command
        .args(["-rfp", "--mount-proc", "--kill-child"])
        .arg(folder.path().join("server"))
        .args(["--listen", "127.0.0.1:0"])
        .stdout(processes::restarting::output(folder.path()))
        .stderr(processes::restarting::output(folder.path()));
    let mut container = command.spawn().unwrap();
    let said = || fs::read_to_string(folder.path().join("output")).unwrap_or_default();
    let first = || words_after(&said(), "listening on ").first()?.parse().ok();
    let is_over = Cell::new(false);
    let addr: Option<SocketAddr> = eventually(|| {
        is_over.set(container.try_wait().unwrap().is_some());
        is_over
            .get()
            .then_some(None)
            .or_else(|| Some(Some(first()?)))
    });
    let Some(addr) = addr else {
        let _ = writeln!(std::io::stderr(), "skipped: no namespace can be made");
        return;
    };
    let server = fs::read_to_string(format!("/proc/{0}/task/{0}/children", container.id()));
    kill("USR2", server.unwrap().trim().parse().unwrap());
    eventually(|| {
        said()
            .contains("this process goes on serving: this is process 1")
            .then_some(())
    });
    let mut client = Client::connect_with(addr, &Options::new().http1()).unwrap();
    assert!(!client.get("/").unwrap().says_close());
    container.kill().unwrap();
    container.wait().unwrap();
}

#[test]
fn settings_can_be_checked_by_hand() {
    let check = |name| {
        let ended = Command::new(example(name)).arg("--check").output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        String::from_utf8(ended.stdout).unwrap()
    };
    assert_eq!(check("restart"), "the settings can be used\n");
    check("restart_testbed");
}

fn get(site: &Site) -> String {
    let mut client = Client::connect_with(site.addr, &Options::new().http1()).unwrap();
    client.get("/").unwrap().text()
}

/// Waits until there is something.
fn eventually<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(it) = what() {
            return it;
        }
        assert!(begun.elapsed() < SOON);
        sleep(Duration::from_millis(10));
    }
}
