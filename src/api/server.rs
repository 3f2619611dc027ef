//! The server: its sockets, its threads, its routes.
//!
//! It is put together from the HTTP library's parts instead of its ready-made server, because that one has no place for a
//! deadline of answers ([`super::guarded`]).

use super::commands::{control, orders as order_commands, strategies};
use super::edge::edge;
use super::error::{Code, Problem};
use super::guarded::Guarded;
use super::options::{ServerOptions, TlsFiles};
use super::state::{ApiParts, ApiState};
use super::{health, history, login, metrics, openapi, orders, push, reads, system};
use actix_http::HttpService;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::dev::{AppConfig, Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::{App, Handler, HttpResponse, Resource, Responder, Route, guard, web};
use qcat_io::net::bound_send_buffer;
use qcat_io::net::tls::{self, Stream};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// How long a connection may take to agree on TLS, and to close.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bytes that the operating system may hold for one client; Linux doubles it for its own needs.
const SEND_BUFFER: usize = 128 << 10;
/// How long requests under way may take when the server is told to stop.
const STOP: u64 = 5;

/// Why the server cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Passwords and tokens would be readable on the way.
    #[error(
        "server.host {0} is not a loopback address: set server.tls, or name the proxy that adds TLS in server.trusted_proxies"
    )]
    Open(SocketAddr),
    /// The port is taken.
    #[error("{what}: port {port} of {host} is taken: another qcat, or what `ss -ltnp 'sport = :{port}'` shows")]
    Taken { what: &'static str, host: String, port: u16 },
    /// The port cannot be had.
    #[error("{what}: cannot listen on {address}: {error}")]
    Listen { what: &'static str, address: SocketAddr, error: io::Error },
    /// The host has no address.
    #[error("{what}: `{host}` cannot be resolved: {error}")]
    Host { what: &'static str, host: String, error: io::Error },
    /// Tokens cannot be signed.
    #[error("jwt.secret_key: {0}")]
    Key(String),
    /// The certificate cannot be used.
    #[error("server.tls: {0}")]
    Tls(String),
}

/// A server that is bound and not running yet.
pub struct Bound {
    server: Server,
    /// Where the API listens.
    pub address: SocketAddr,
    /// Where metrics are served besides.
    pub metrics_address: Option<SocketAddr>,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The sockets of a server: held over restarts of what serves them, so that a port that was had is never lost.
pub struct Sockets {
    api: TcpListener,
    metrics: Option<TcpListener>,
    tls: Option<TlsAcceptor>,
    options: ServerOptions,
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets").field("api", &self.api).field("metrics", &self.metrics).finish_non_exhaustive()
    }
}

impl Sockets {
    /// Binds. Errors name the port and what may hold it.
    pub fn bind(options: ServerOptions) -> Result<Sockets, BindError> {
        if options.is_open() {
            return Err(BindError::Open(options.listen));
        }
        let tls = options.tls.as_ref().map(acceptor).transpose()?;
        let api = listen("server.port", options.listen)?;
        let metrics = options.metrics_listen.map(|at| listen("monitoring.prometheus_port", at)).transpose()?;
        Ok(Sockets { api, metrics, tls, options })
    }

    /// Where the API listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.api.local_addr()
    }

    /// Begins to serve, on threads of its own; [`Bound::run`] must be awaited. Must be called within a runtime.
    pub fn serve(&self, parts: ApiParts) -> io::Result<Bound> {
        let state = web::Data::new(ApiState::new(parts, self.options.clone()));
        let options = &self.options;
        let mut builder = Server::build()
            .workers(options.workers.max(1))
            .max_concurrent_connections((options.connections_max / options.workers.max(1)).max(1))
            .shutdown_timeout(STOP)
            .disable_signals();
        let (shared, tls) = (state.clone(), self.tls.clone());
        builder = builder.listen("api", self.api.try_clone()?, move || {
            service(shared.clone(), tls.clone(), METRICS.to_owned(), api_routes)
        })?;
        if let Some(metrics) = &self.metrics {
            let (shared, path) = (state.clone(), options.metrics_path.clone());
            builder = builder.listen("metrics", metrics.try_clone()?, move || {
                service(shared.clone(), None, path.clone(), metrics_routes)
            })?;
        }
        let metrics_address = self.metrics.as_ref().map(TcpListener::local_addr).transpose()?;
        Ok(Bound { server: builder.run(), address: self.api.local_addr()?, metrics_address })
    }
}

impl Bound {
    /// Stops it from elsewhere: requests under way are answered first.
    pub fn handle(&self) -> ServerHandle {
        self.server.handle()
    }

    /// Serves until told to stop.
    pub async fn run(self) -> io::Result<()> {
        self.server.await
    }
}

fn listen(what: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken { what, host: address.ip().to_string(), port: address.port() },
        _ => BindError::Listen { what, address, error },
    };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, BindError> {
    let config =
        tls::server_config(&files.certificate, &files.key).map_err(|error| BindError::Tls(error.to_string()))?;
    Ok(TlsAcceptor::from(config))
}

/// What serves one connection: TLS, the deadline of answers, HTTP/1, the routes.
fn service(
    state: web::Data<ApiState>,
    tls: Option<TlsAcceptor>,
    path: String,
    routes: fn(&mut web::ServiceConfig),
) -> impl actix_service::ServiceFactory<TcpStream, Config = (), Response = (), Error = (), InitError = ()> {
    let options = &state.options;
    let (write_timeout, watch) = (options.write_timeout, state.watch.clone());
    let app = App::new()
        .app_data(state.clone())
        .configure(routes)
        .service(resource(&path, "GET, HEAD", metrics::metrics))
        .default_service(web::to(no_path))
        .wrap(from_fn(edge));
    let app = app.into_factory().map_err(|error: actix_web::Error| error.error_response());
    let http = HttpService::build()
        .keep_alive(options.keep_alive)
        .client_request_timeout(options.read_timeout)
        .client_disconnect_timeout(HANDSHAKE)
        .h1(map_config(app, |()| AppConfig::default()));
    fn_service(move |tcp: TcpStream| {
        let (tls, counted) = (tls.clone(), watch.connected());
        async move {
            let peer = tcp.peer_addr().ok();
            // Answers are small: waiting to fill a segment only delays them.
            let _ = tcp.set_nodelay(true);
            bound_send_buffer(&tcp, SEND_BUFFER);
            let stream = match tls {
                None => Stream::Plain(tcp),
                Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(tcp)).await {
                    Ok(Ok(stream)) => Stream::Server(Box::new(stream)),
                    // Port scanners and plain HTTP: nobody's fault here.
                    Ok(Err(_)) | Err(_) => return Err(()),
                },
            };
            Ok((Guarded::new(stream, write_timeout, counted), peer))
        }
    })
    .and_then(http.map_err(|error| tracing::debug!(%error, "a connection ended")))
}

/// A path with one handler.
fn resource<H, Args>(path: &str, methods: &'static str, handler: H) -> Resource
where
    H: Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    H::Output: Responder + 'static,
{
    web::resource(path.to_owned())
        .route(on(methods, handler))
        .default_service(web::to(move || async move { only(methods) }))
}

/// A handler of these methods.
fn on<H, Args>(methods: &'static str, handler: H) -> Route
where
    H: Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    H::Output: Responder + 'static,
{
    let known = move |context: &guard::GuardContext<'_>| {
        let method = context.head().method.as_str();
        methods.split(", ").any(|known| known == method)
    };
    web::route().guard(guard::fn_guard(known)).to(handler)
}

fn only(methods: &'static str) -> Result<HttpResponse, Problem> {
    let mut problem = Problem::new(Code::MethodNotAllowed, format!("the path has only {methods}"));
    problem.allow = Some(methods);
    Err(problem)
}

/// The path is the client's own text: it is not repeated.
async fn no_path() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found("there is no such path"))
}

const READ: &str = "GET, HEAD";
/// Where the API's own port serves metrics.
pub const METRICS: &str = "/metrics";

fn health_routes(app: &mut web::ServiceConfig) {
    app.service(resource("/health", READ, health::health))
        .service(resource("/health/live", READ, health::live))
        .service(resource("/health/ready", READ, health::ready));
}

fn metrics_routes(app: &mut web::ServiceConfig) {
    health_routes(app);
}

/// The routes of the API. A role stands in each handler's arguments; the description is in [`openapi`].
fn api_routes(app: &mut web::ServiceConfig) {
    health_routes(app);
    app.service(resource("/api/v1/version", READ, system::version))
        .service(resource("/api/v1/auth/login", "POST", login::login))
        .service(resource("/api/v1/auth/me", READ, login::me))
        .service(resource("/api/v1/strategies", READ, reads::strategies))
        .service(resource("/api/v1/strategies/{id}", READ, reads::strategy))
        .service(resource("/api/v1/history/orders", READ, history::orders))
        .service(resource("/api/v1/trades", READ, history::trades))
        .service(resource("/api/v1/decisions", READ, history::decisions))
        .service(resource("/api/v1/audit", READ, history::audit))
        .service(resource("/api/v1/positions", READ, reads::positions))
        .service(resource("/api/v1/accounts", READ, reads::accounts))
        .service(resource("/api/v1/accounts/{name}", READ, reads::account))
        .service(resource("/api/v1/risk", READ, reads::risk))
        .service(resource("/api/v1/journal", READ, reads::journal))
        .service(resource("/api/v1/components", READ, system::components))
        .service(resource("/api/v1/components/{name}", READ, system::component))
        .configure(command_routes)
        .service(resource("/ws", "GET", push::session::connect))
        .service(resource(openapi::PATH, READ, openapi::serve))
        .service(web::redirect("/swagger-ui", "/swagger-ui/"))
        .service(resource("/swagger-ui/{file:.*}", READ, openapi::page));
}

/// Paths with commands, and those that are read and commanded.
fn command_routes(app: &mut web::ServiceConfig) {
    let orders = "/api/v1/orders";
    let all = [on(READ, orders::orders), on("POST", order_commands::place), on("DELETE", order_commands::cancel_all)];
    let one = [on(READ, orders::order), on("PATCH", order_commands::modify), on("DELETE", order_commands::cancel)];
    let switch = [on("POST", control::kill), on("DELETE", control::resume)];
    let stop = [on(READ, system::shutdown), on("POST", control::shutdown)];
    app.service(several(orders, "GET, HEAD, POST, DELETE", all))
        .service(several("/api/v1/orders/{client_order_id}", "GET, HEAD, PATCH, DELETE", one))
        .service(resource("/api/v1/strategies/{id}/start", "POST", strategies::start))
        .service(resource("/api/v1/strategies/{id}/stop", "POST", strategies::stop))
        .service(resource("/api/v1/strategies/{id}/params", "PUT", strategies::params))
        .service(several("/api/v1/risk/kill-switch", "POST, DELETE", switch))
        .service(resource("/api/v1/accounts/{name}/reconcile", "POST", control::reconcile))
        .service(resource("/api/v1/components/{name}/restart", "POST", control::restart))
        .service(several("/api/v1/shutdown", "GET, HEAD, POST", stop));
}

/// A path with several handlers, of these methods together.
fn several<const N: usize>(path: &str, methods: &'static str, routes: [Route; N]) -> Resource {
    let resource = routes.into_iter().fold(web::resource(path.to_owned()), Resource::route);
    resource.default_service(web::to(move || async move { only(methods) }))
}
