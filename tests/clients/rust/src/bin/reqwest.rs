//! reqwest, as it is: one client for each pool.

use std::{
    env,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use reqwest::{Certificate, Client};
use serde_json::{Value, json};
use tokio::time::sleep;

#[derive(Default)]
struct Seen {
    requests: u64,
    failed: Vec<Value>,
}

fn setting(name: &str) -> String {
    env::var(name).unwrap()
}

fn number(name: &str) -> u64 {
    setting(name).parse().unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let ca = Certificate::from_pem(&std::fs::read(setting("CA")).unwrap()).unwrap();
    let mut workers = Vec::new();
    for _ in 0..number("POOLS") {
        let mut client = Client::builder().add_root_certificate(ca.clone());
        if setting("HTTP") == "1" {
            client = client.http1_only();
        }
        let client = client.build().unwrap();
        for _ in 0..number("PER_POOL") {
            workers.push(tokio::spawn(work(client.clone(), seen.clone())));
        }
    }
    for worker in workers {
        worker.await.unwrap();
    }
    let seen = seen.lock().unwrap();
    let version = format!("reqwest {}", env!("REQWEST"));
    println!(
        "{}",
        json!({"version": version, "requests": seen.requests, "failed": seen.failed})
    );
}

/// Seconds since the epoch.
fn now() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
}

async fn work(client: Client, seen: Arc<Mutex<Seen>>) {
    let until: f64 = setting("UNTIL").parse().unwrap();
    let idle = number("IDLE_FROM_MS")..=number("IDLE_MS");
    let posts = !setting("POST").is_empty();
    let mut post = posts && fastrand::bool();
    loop {
        sleep(Duration::from_millis(fastrand::u64(idle.clone()))).await;
        let begun = now();
        let result = exchange(&client, post).await;
        let mut seen = seen.lock().unwrap();
        seen.requests += 1;
        if let Err(error) = result {
            let at = now();
            let method = if post { "POST" } else { "GET" };
            seen.failed
                .push(json!({"begun": begun, "at": at, "method": method, "error": error}));
        }
        post = posts && !post;
        if now() >= until {
            return;
        }
    }
}

async fn exchange(client: &Client, post: bool) -> Result<(), String> {
    let url = setting("URL");
    let body = vec![b'b'; 1000];
    let request = match post {
        true => client.post(url + &setting("POST")).body(body.clone()),
        false => client.get(url + &setting("GET")),
    };
    let shown = |error: reqwest::Error| format!("{error:?}");
    let answer = request.send().await.map_err(shown)?;
    let status = answer.status();
    let got = answer.bytes().await.map_err(shown)?;
    let wanted = if post {
        body
    } else {
        vec![b'x'; number("LENGTH") as usize]
    };
    match status.as_u16() == 200 && got == wanted {
        true => Ok(()),
        false => Err(format!("{status}, {} bytes", got.len())),
    }
}
