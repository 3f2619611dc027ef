//! Stands between the daemon and the simulator: breaks connections as networks do, and changes what the exchange says.
#![allow(dead_code)] // Each test uses a part of it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to the connections of one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// They end without a word.
    End,
    /// What the exchange says turns into bytes that no protocol knows.
    Garble,
    /// Nothing passes any more, in either direction, and nobody is told; new connections of that kind hear nothing either.
    Silence,
}

/// A running proxy.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    /// Connections so far, by the first bytes of their request.
    seen: RefCell<Vec<String>>,
    breaks: watch::Sender<(u64, &'static str, Break)>,
    number: Cell<u64>,
    /// What the exchange says, and what the daemon hears instead: texts of the same length.
    rewrites: RefCell<Vec<(&'static str, &'static str)>>,
    /// What the daemon says, and what the exchange hears instead: texts of the same length.
    rewrites_up: RefCell<Vec<(&'static str, &'static str)>>,
    /// Frames that come first on a WebSocket whose request begins with this, once.
    injected: RefCell<Vec<(&'static str, Vec<u8>)>>,
    task: RefCell<Option<tokio::task::JoinHandle<()>>>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.borrow_mut().take().inspect(tokio::task::JoinHandle::abort);
    }
}

impl Proxy {
    /// Passes everything on to `to`.
    pub async fn start(to: SocketAddr) -> Rc<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (breaks, _) = watch::channel((0, "", Break::End));
        let proxy = Proxy {
            address,
            seen: RefCell::default(),
            breaks,
            number: Cell::new(0),
            rewrites: RefCell::default(),
            rewrites_up: RefCell::default(),
            injected: RefCell::default(),
            task: RefCell::default(),
        };
        let proxy = Rc::new(proxy);
        let weak = Rc::downgrade(&proxy);
        *proxy.task.borrow_mut() = Some(tokio::task::spawn_local(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::task::spawn_local(pass(weak.clone(), client, to));
            }
        }));
        proxy
    }

    /// Breaks every open connection whose request begins with this, such as `GET /private`.
    pub fn break_open(&self, request: &'static str, how: Break) {
        self.number.set(self.number.get() + 1);
        self.breaks.send_replace((self.number.get(), request, how));
    }

    /// From here on the daemon hears something else than the exchange says.
    pub fn rewrite(&self, rewrites: &[(&'static str, &'static str)]) {
        assert!(rewrites.iter().all(|(from, to)| from.len() == to.len()), "a body's length is told before it");
        *self.rewrites.borrow_mut() = rewrites.to_vec();
    }

    /// From here on the exchange hears something else than the daemon says.
    pub fn rewrite_up(&self, rewrites: &[(&'static str, &'static str)]) {
        assert!(rewrites.iter().all(|(from, to)| from.len() == to.len()), "a body's length is told before it");
        *self.rewrites_up.borrow_mut() = rewrites.to_vec();
    }

    /// The next WebSocket whose request begins with this hears these texts first.
    pub fn inject(&self, request: &'static str, texts: &[&[u8]]) {
        let mut frames = Vec::new();
        for text in texts {
            let length = u16::try_from(text.len()).expect("short frames");
            frames.extend([0x81, 126]);
            frames.extend(length.to_be_bytes());
            frames.extend(*text);
        }
        self.injected.borrow_mut().push((request, frames));
    }

    /// The answer to an upgrade, with what was injected behind it.
    fn with_injected(&self, request: &str, mut bytes: Vec<u8>) -> Vec<u8> {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        let mut injected = self.injected.borrow_mut();
        if let (Some(head), Some(at)) = (head, injected.iter().position(|(which, _)| request.starts_with(which)))
            && bytes.starts_with(b"HTTP/1.1 101")
        {
            let (_, frames) = injected.remove(at);
            bytes.splice(head..head, frames);
        }
        bytes
    }

    fn rewritten(&self, bytes: &mut [u8]) {
        rewrite(bytes, &self.rewrites.borrow());
    }

    fn rewritten_up(&self, bytes: &mut [u8]) {
        rewrite(bytes, &self.rewrites_up.borrow());
    }

    /// Connections so far whose request begins with this.
    pub fn count(&self, request: &str) -> usize {
        self.seen.borrow().iter().filter(|seen| seen.starts_with(request)).count()
    }
}

fn rewrite(bytes: &mut [u8], rewrites: &[(&'static str, &'static str)]) {
    for (from, to) in rewrites {
        for at in 0..(bytes.len() + 1).saturating_sub(from.len()) {
            if bytes[at..].starts_with(from.as_bytes()) {
                bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
            }
        }
    }
}

async fn pass(proxy: Weak<Proxy>, mut client: TcpStream, to: SocketAddr) {
    let Ok(mut exchange) = TcpStream::connect(to).await else { return };
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let Ok(first @ 1..) = client.read(&mut up).await else { return };
    let request = String::from_utf8_lossy(&up[..first.min(64)]).into_owned();
    if let Some(proxy) = proxy.upgrade() {
        proxy.rewritten_up(&mut up[..first]);
    }
    let Some(mut breaks) = proxy.upgrade().map(|proxy| {
        proxy.seen.borrow_mut().push(request.clone());
        let mut breaks = proxy.breaks.subscribe();
        breaks.mark_unchanged();
        breaks
    }) else {
        return;
    };
    if exchange.write_all(&up[..first]).await.is_err() {
        return;
    }
    let mut garbled = false;
    let (_, which, how) = *breaks.borrow();
    if how == Break::Silence && request.starts_with(which) {
        std::future::pending::<()>().await;
    }
    loop {
        tokio::select! {
            changed = breaks.changed() => {
                let (_, which, how) = *breaks.borrow_and_update();
                match how {
                    _ if changed.is_err() => return,
                    Break::End if request.starts_with(which) => return,
                    Break::Garble if request.starts_with(which) => garbled = true,
                    Break::Silence if request.starts_with(which) => std::future::pending().await,
                    _ => {}
                }
            }
            read = client.read(&mut up) => {
                let Ok(n @ 1..) = read else { return };
                if let Some(proxy) = proxy.upgrade() {
                    proxy.rewritten_up(&mut up[..n]);
                }
                if exchange.write_all(&up[..n]).await.is_err() {
                    return;
                }
            }
            read = exchange.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                if let Some(proxy) = proxy.upgrade() {
                    proxy.rewritten(&mut down[..n]);
                }
                if garbled {
                    down[..n].fill(0xff);
                }
                let said = down[..n].to_vec();
                let said = match proxy.upgrade() {
                    Some(proxy) => proxy.with_injected(&request, said),
                    None => said,
                };
                if client.write_all(&said).await.is_err() {
                    return;
                }
            }
        }
    }
}
