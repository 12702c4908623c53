//! The product port over HTTP: the two paths, health, and errors that name the right URL.

use super::context::{ProductContext, Serving};
use super::listener::Peer;
use super::message::{JOSE_JSON, PROBLEM_JSON};
use super::problem::{Code, Problem};
use super::service::{Service, Signed};
use super::{MAX_BODY, PATHS};
use crate::telemetry::AnswerLabels;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use prometheus_client::metrics::counter::Counter;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// Revocation lists by issuer.
const CRL_ROUTE: &str = "/crl/{file}";
/// RFC 2585, section 4.2.
const PKIX_CRL: &str = "application/pkix-crl";
/// How long a body may take: far more than 64 KiB need on any link that can hold a TLS session.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

struct App {
    service: Service,
    granted: Counter,
    refused: Counter,
    error: Counter,
}

/// The router of the product port, and the one of the port for revocation lists in plain HTTP.
pub struct Routers {
    pub product: Router,
    pub crl: Router,
}

/// The routes of the product port. Requests carry a [`Peer`] extension, as [`super::listener::serve_tls`] adds it.
pub fn router(context: ProductContext) -> Router {
    routers(context).product
}

/// As [`router`], with the one for revocation lists.
pub fn routers(context: ProductContext) -> Routers {
    let counter = |answer: &str| context.metrics.answers.get_or_create(&AnswerLabels { answer: answer.into() }).clone();
    let (granted, refused, error) = (counter("granted"), counter("refused"), counter("error"));
    let app = Arc::new(App { service: Service::new(context), granted, refused, error });
    let mut router = Router::new();
    for path in PATHS {
        router = router.route(path, any(products));
    }
    let lists = Router::new().route(CRL_ROUTE, get(crl)).fallback(no_list).with_state(app.clone());
    let product = router
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route(CRL_ROUTE, get(crl))
        .fallback(wrong_path)
        .with_state(app);
    Routers { product, crl: lists }
}

/// The routes of the product port of a node that serves no licenses any more: each answers `problem`.
pub fn out_of_service(problem: Problem) -> Router {
    let answer = move || {
        let problem = problem.clone();
        async move { problem }
    };
    Router::new().route("/healthz", get(|| async { "alive\n" })).fallback(any(answer))
}

async fn products(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let answer = if request.method() == Method::POST {
        let source = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        match read_body(request.into_body()).await {
            Ok(body) => app.service.answer(&body, source).await,
            Err(problem) => Err(problem),
        }
    } else {
        Err(wrong_method(&request))
    };
    match answer {
        Ok(signed) => {
            if signed.status == 200 { &app.granted } else { &app.refused }.inc();
            signed.into_response()
        }
        Err(problem) => {
            app.error.inc();
            problem.into_response()
        }
    }
}

async fn read_body(body: Body) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
    let Ok(read) = read else {
        let detail = format!("the body was not complete after {} s", BODY_TIMEOUT.as_secs());
        return Err(Problem::new(Code::BodyTimeout, detail));
    };
    read.map(http_body_util::Collected::to_bytes).map_err(|e| {
        if e.downcast_ref::<LengthLimitError>().is_some() {
            Problem::new(Code::BodyTooLarge, format!("a request may have at most {MAX_BODY} bytes"))
        } else {
            Problem::new(Code::MalformedRequest, format!("the body broke off: {e}"))
        }
    })
}

fn wrong_method(request: &Request<Body>) -> Problem {
    let url = url_of(request, request.uri().path());
    let detail = format!("{} was used; send requests with POST to {url}", request.method());
    Problem::new(Code::WrongMethod, detail)
}

async fn wrong_path(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.error.inc();
    let (first, second) = (url_of(&request, PATHS[0]), url_of(&request, PATHS[1]));
    let detail =
        format!("there is nothing at {}; products POST their requests to {first} or {second}", request.uri().path());
    Problem::new(Code::WrongPath, detail).into_response()
}

/// The URL of `path` here, under the name by which the client reached us.
fn url_of(request: &Request<Body>, path: &str) -> String {
    let host = request.headers().get(HOST).and_then(|h| h.to_str().ok()).or_else(|| request.uri().host());
    format!("https://{}{path}", host.unwrap_or("HOST:PORT"))
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    match (app.service.context.serving.serving(), app.service.check_serving()) {
        (Serving::Active, _) => "serving\n".into_response(),
        (_, Err(problem)) => problem.into_response(),
        // It became active between the two looks.
        (_, Ok(())) => "serving\n".into_response(),
    }
}

async fn crl(State(app): State<Arc<App>>, Path(file): Path<String>) -> Response {
    match app.service.revocation_list(&file).await {
        Ok(list) => ([(CONTENT_TYPE, PKIX_CRL)], list).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn no_list(request: Request<Body>) -> Response {
    let path = request.uri().path();
    let detail =
        format!("there is nothing at {path}; this port has revocation lists, at /crl/ISSUER.crl, and nothing else");
    Problem::new(Code::WrongPath, detail).into_response()
}

impl IntoResponse for Signed {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JOSE_JSON));
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.to_json()));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.code == Code::WrongMethod.as_str() {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        if let Some(ms) = self.retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
        }
        response
    }
}
