//! Requests per second of a daemon that trades, as `wrk` counts them, against a bare actix-web handler that returns the same bytes,
//! in the same run; and the memory of a daemon with nothing to do.
//!
//! `/health` comes without a limit of requests, the list with token, limit, metrics and access log. Bars: 0.9 and 0.6 of the bare
//! rate, 32 MB. The daemon goes on trading while either is measured.

#[path = "../tests/support/daemon.rs"]
mod daemon;
#[path = "../tests/support/running.rs"]
mod running;

use actix_web::{App, HttpResponse, HttpServer, web};
use qcat::sim::RunningSim;
use running::{Running, said, token, tool};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Rounds of each side, in turns; the best one counts: nothing makes a server faster than it is.
const ROUNDS: usize = 3;
/// Threads that serve, on both sides.
const WORKERS: usize = 2;

/// Serves these bytes under every path, for as long as the process lives.
fn bare(body: String) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let body = web::Bytes::from(body);
            let app = move || {
                let body = body.clone();
                let answer = move || {
                    let body = body.clone();
                    async move { HttpResponse::Ok().content_type("application/json").body(body) }
                };
                App::new().default_service(web::to(answer))
            };
            let server = HttpServer::new(app).workers(WORKERS).bind(("127.0.0.1", 0)).expect("a free port");
            tell.send(server.addrs()[0]).expect("heard");
            server.run().await.expect("served");
        });
    });
    told.recv().expect("it begins")
}

/// Requests per second, and the 99th percentile as `wrk` writes it.
async fn rate(address: &str, path: &str) -> (f64, String) {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c64", "-d3s", "--latency", "-H", &format!("Authorization: Bearer {}", token("viewer"))]);
    let output = tool({
        wrk.arg(format!("http://{address}{path}"));
        wrk
    })
    .await;
    let text = said(&output);
    assert!(!text.contains("Non-2xx"), "{text}");
    let after = |word: &str| text.lines().find_map(|line| line.trim().strip_prefix(word)).map(str::trim);
    let rate = after("Requests/sec:").and_then(|rate| rate.parse().ok());
    (rate.unwrap_or_else(|| panic!("{text}")), after("99%").unwrap_or_default().to_owned())
}

async fn compare(daemon: &Running, path: &str) {
    let body = daemon.ask("GET", path, &token("viewer"), "").await.expect("an answer").1;
    let bytes = body.len();
    let bare = bare(body).to_string();
    let mut best = [(0.0, String::new()), (0.0, String::new())];
    for _ in 0..ROUNDS {
        for (best, address) in best.iter_mut().zip([&bare, &daemon.address()]) {
            let found = rate(address, path).await;
            if found.0 > best.0 {
                *best = found;
            }
        }
    }
    let [bare, ours] = best;
    println!(
        "{path} ({bytes} bytes): {:.0} requests/s, p99 {}; bare {:.0}, p99 {}; ratio {:.2}",
        ours.0,
        ours.1,
        bare.0,
        bare.1,
        ours.0 / bare.0
    );
}

async fn start(exchange: &RunningSim, strategies: bool, limited: bool) -> Running {
    let text = |journal: &Path| {
        let text = daemon::configuration(exchange, journal);
        if strategies { text } else { text.replace(daemon::STRATEGIES, "") }
    };
    let limited = format!("security.rate_limit_enabled={limited}");
    let workers = format!("server.workers={WORKERS}");
    let daemon = Running::with(text, |_| (), &["logging.output=file", &limited, &workers]).await;
    daemon.trades().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    daemon
}

fn resident(daemon: &Running) -> String {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap_or("unknown").trim().to_owned()
}

fn main() {
    daemon::on_local_set(async {
        let exchange = daemon::exchange(71).await;
        println!("resident memory without strategies: {}", resident(&start(&exchange, false, true).await));
        let unlimited = start(&exchange, true, false).await;
        println!("resident memory while it trades: {}", resident(&unlimited));
        compare(&unlimited, "/health").await;
        drop(unlimited);
        let limited = start(&exchange, true, true).await;
        compare(&limited, "/api/v1/orders").await;
        println!("resident memory after it: {}", resident(&limited));
    });
}
