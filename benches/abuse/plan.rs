//! The command line, and what it makes of each attack.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use crate::{
    attacks::{Attack, Kind, all, exhaustion},
    known::{SERVERS, Server},
};

/// Who is compared unless others are named.
const COMPARED: [&str; 6] = [
    "graceful-tls-serve",
    "graceful-tls-axum",
    "graceful-tls-axum-server",
    "hyper-util",
    "nginx",
    "apache",
];

/// How many attacks that only hold connections are made side by side, on each server.
const ABREAST: usize = 4;

/// What ours are told, so that they are at the crate's defaults: the testbed has PINGs on.
const DEFAULTS: &str = "--no-ping";

/// The same in the short form: time-outs that end while it looks.
const BRISK: &str = "--no-ping --header-timeout-ms 3000 --handshake-timeout-ms 3000 \
    --write-timeout-ms 3000 --body-timeout-ms 3000 --tcp-keepalive-ms 1000";

/// Attacks servers, and says what came of it.
#[derive(Debug, Parser)]
#[command(name = "abuse")]
pub struct Plan {
    /// Attacks whose names contain one of these words, with commas between them [default: all]
    #[arg(long, value_name = "WORDS", value_delimiter = ',')]
    attacks: Vec<String>,

    /// Servers whose names contain one of these words [default: ours, hyper-util, nginx, Apache]
    #[arg(long, value_name = "WORDS", value_delimiter = ',')]
    servers: Vec<String>,

    /// How long an attack that holds connections goes on; half as long again where a machine vanishes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(5..=3600))]
    seconds: Option<u64>,

    /// How many connections such an attack makes [default: 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=5000))]
    connections: Option<u16>,

    /// Only our own serve, with short time-outs, in 90 s; the exit status is 1 unless it held out
    #[arg(long)]
    pub short: bool,

    /// Where to write the results
    #[arg(long, value_name = "FOLDER")]
    results: Option<PathBuf>,

    /// cargo passes it
    #[arg(long, hide = true)]
    bench: bool,
}

impl Plan {
    pub fn attacks(&self) -> Vec<Attack> {
        let named = |attack: &Attack| attack.is_named(&self.attacks);
        all().into_iter().filter(named).collect()
    }

    pub fn servers(&self) -> Vec<&'static Server> {
        let compared = |server: &&Server| match (self.short, self.servers.is_empty()) {
            (true, true) => server.id == COMPARED[0],
            (false, true) => COMPARED.contains(&server.id),
            (_, false) => server.is_named(&self.servers),
        };
        SERVERS.iter().filter(compared).collect()
    }

    /// Whether there is nothing that it leaves out.
    pub fn is_whole(&self) -> bool {
        !self.short && self.attacks.is_empty() && self.servers.is_empty()
    }

    pub fn connections(&self) -> usize {
        let default = if self.short { 20 } else { 200 };
        self.connections.map_or(default, usize::from)
    }

    /// What ours are told. Where something runs out, the defaults are what is looked at.
    pub fn ours(&self, attack: &Attack) -> &'static str {
        match attack.kind {
            Kind::Descriptors | Kind::Handshakes => DEFAULTS,
            _ if self.short => BRISK,
            _ => DEFAULTS,
        }
    }

    /// How long an attack goes on at most.
    pub fn bound(&self, attack: &Attack) -> Duration {
        let default = if self.short { 15 } else { 90 };
        let seconds = self.seconds.unwrap_or(default);
        Duration::from_secs(match attack.kind {
            Kind::Slow(_) | Kind::Drip(_) => seconds,
            Kind::Vanished(_) if self.short => seconds,
            Kind::Vanished(_) => seconds + seconds / 2,
            Kind::Flood(_) if self.short => 2,
            Kind::Flood(_) => 4,
            Kind::Descriptors => 9,
            Kind::Handshakes => 12,
        })
    }

    /// From the beginning of an attack to the first good client beside it.
    pub fn lead(&self, attack: &Attack) -> Duration {
        Duration::from_millis(match attack.kind {
            Kind::Slow(_) | Kind::Drip(_) | Kind::Vanished(_) => 2000,
            Kind::Flood(_) => 200,
            Kind::Descriptors => 3000,
            Kind::Handshakes => 2000,
        })
    }

    /// How often a good client comes, and how many do at most.
    pub fn pace(&self, attack: &Attack) -> (Duration, usize) {
        let (ms, most) = match attack.kind {
            Kind::Slow(_) | Kind::Drip(_) | Kind::Vanished(_) => (500, usize::MAX),
            Kind::Flood(_) => (50, usize::MAX),
            Kind::Descriptors => (40, exhaustion::NEWCOMERS),
            Kind::Handshakes => (100, usize::MAX),
        };
        (Duration::from_millis(ms), most)
    }

    /// About how long all of it takes.
    pub fn duration(&self) -> Duration {
        let (holding, others): (Vec<_>, Vec<_>) =
            self.attacks().into_iter().partition(Attack::only_holds);
        let overhead = Duration::from_secs(3);
        let holding = self.waves(&holding).into_iter().map(|wave| {
            let bounds = wave.iter().map(|attack| self.bound(attack));
            bounds.max().unwrap_or_default() + overhead * 2
        });
        let servers = u32::try_from(self.servers().len()).unwrap_or(u32::MAX);
        let others = others
            .iter()
            .map(|attack| (self.bound(attack) + overhead) * servers);
        holding.chain(others).sum()
    }

    /// The attacks that go on side by side. Those of one family are told apart, and where a machine
    /// vanishes all is done together, since it takes longer.
    pub fn waves(&self, holding: &[Attack]) -> Vec<Vec<Attack>> {
        let vanishes = |attack: &Attack| matches!(attack.kind, Kind::Vanished(_));
        let (last, others): (Vec<Attack>, Vec<_>) = holding.iter().partition(|a| vanishes(a));
        if self.short {
            return vec![holding.to_vec()];
        }
        let n = others.len().div_ceil(ABREAST);
        let wave = |i| others.iter().copied().skip(i).step_by(n).collect();
        let waves = (0..n).map(wave).chain([last]);
        waves.filter(|wave: &Vec<_>| !wave.is_empty()).collect()
    }
}
