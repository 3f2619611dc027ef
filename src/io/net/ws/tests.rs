use super::*;
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;

/// What the other side of the connection does once it is open.
enum Peer {
    /// Reads nothing and says nothing, and does not close either: as after a lost cable.
    Vanished,
    /// Only answers pings, so many, and then closes.
    Pongs(usize),
}

async fn against(peer: Peer, patience: Patience) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let served = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.expect("a client");
        let mut socket = accept_async(tcp).await.expect("a WebSocket");
        if let Peer::Pongs(mut left) = peer {
            while left > 0 {
                // Reading answers the ping.
                match socket.next().await {
                    Some(Ok(Message::Ping(_))) => left -= 1,
                    Some(Ok(_)) => {}
                    other => panic!("{other:?}"),
                }
            }
            socket.close(None).await.expect("closed");
        } else {
            std::future::pending::<()>().await;
        }
    });
    let connector = Connector::new(None).expect("built-in roots");
    let socket = connect(&connector, &format!("ws://{address}/ws")).await.expect("it opens");
    let (_keep, receive) = mpsc::channel(1);
    let reason = run(socket, patience, receive, |frame| panic!("{frame:?}")).await;
    served.abort();
    reason
}

#[tokio::test]
async fn a_peer_that_vanished_is_found_by_ping() {
    let patience = Patience { ping_after: Duration::from_millis(20), answer_within: Duration::from_millis(50) };
    let reason = against(Peer::Vanished, patience).await;
    assert!(reason.contains("no pong"), "{reason}");
}

#[tokio::test]
async fn a_quiet_peer_that_answers_pings_is_kept() {
    let patience = Patience { ping_after: Duration::from_millis(5), answer_within: Duration::from_secs(60) };
    let reason = against(Peer::Pongs(8), patience).await;
    assert!(reason.contains("closed by the peer"), "{reason}");
}
