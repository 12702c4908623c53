//! A program that uses the REST API at the virtual address, and the pages beside it, from a process of its own, over HTTPS.

use super::report::{Row, Runs};
use super::system::System;
use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use licraft::pki::ca::certificates_from_pem;
use licraft::pki::tls::client_config;
use serde_json::{Value, json};
use std::future::Future;
use std::time::{Duration, Instant};

/// Between two accounts: what central takes of one server for long, and what the service that follows the schedules keeps.
const PACE: Duration = Duration::from_millis(100);
/// Who looks at the pages.
const PERSON: &str = "bench";
const PASSWORD: &str = "four unrelated words";
/// A synchronization that central told to wait is asked for again so much later.
const SYNC_PAUSE: Duration = Duration::from_millis(500);

/// The lists of the largest account and of the server, by what they are called in the report; all of them are measured.
const LISTS: [(&str, &[&str]); 16] = [
    (
        "product instances of the largest account, pages in each order",
        &[
            "site-00/product-instances",
            "site-00/product-instances?limit=1000",
            "site-00/product-instances?sort=name&offset=150000",
            "site-00/product-instances?sort=-productType",
            "site-00/product-instances?sort=virtualAccount",
            "site-00/product-instances?sort=alerts",
        ],
    ),
    (
        "the same, by last contact",
        &["site-00/product-instances?sort=-lastContact", "site-00/product-instances?sort=lastContact&offset=100000"],
    ),
    ("the same, a search that finds nothing", &["site-00/product-instances?search=there+is+none&sort=-lastContact"]),
    (
        "the same, a search that finds one, some, all",
        &[
            "site-00/product-instances?search=S00R3-17",
            "site-00/product-instances?search=r2-2&sort=name",
            "site-00/product-instances?search=simulated&sort=-lastContact",
        ],
    ),
    (
        "the same, filtered",
        &[
            "site-00/product-instances?status=out-of-compliance&sort=-lastContact",
            "site-00/product-instances?productType=none",
        ],
    ),
    (
        "product instances of a small account",
        &["site-01/product-instances?sort=name", "site-01/product-instances?search=none"],
    ),
    (
        "licenses",
        &[
            "site-00/licenses?sort=-balance",
            "site-00/licenses?search=license+1&sort=alerts",
            "site-00/licenses?status=out-of-compliance",
        ],
    ),
    ("accounts", &["?sort=-productInstances", "?search=site", "?status=active&sort=synchronizationDue"]),
    (
        "virtual accounts and tokens",
        &["site-00/virtual-accounts?sort=-created", "site-00/virtual-accounts/Default/tokens?sort=-expirationDate"],
    ),
    ("alerts", &["site-00/alerts?sort=-severity", "../alerts?sort=-raised", "../alerts?search=none"]),
    ("events", &["../events?sort=-time", "../events?search=none", "site-00/events?sort=-severity&offset=5000"]),
    (
        "existing scripts' calls (POST licenses, alerts, devices)",
        &["site-00/licenses POST", "site-00/alerts POST", "site-00/devices POST"],
    ),
    (
        "page of all product instances, in each order",
        &[
            "/product-instances",
            "/product-instances?page=3000",
            "/product-instances?sort=name&page=3000",
            "/product-instances?sort=-productType",
            "/product-instances?sort=virtualAccount",
            "/product-instances?sort=-lastContact",
            "/product-instances?sort=alerts",
        ],
    ),
    (
        "page of product instances, searched",
        &[
            "/product-instances?q=S00R3-17",
            "/product-instances?q=there+is+none&sort=-lastContact",
            "/product-instances?q=simulated&sort=-lastContact",
        ],
    ),
    ("page of licenses", &["/licenses", "/licenses?sort=-balance", "/licenses?q=license+1"]),
    ("other pages", &["/", "/accounts", "/alerts", "/inventory", "/event-log", "/administration", "/synchronization"]),
];

/// The program.
pub struct Rest {
    http: reqwest::Client,
    base: String,
    metrics: String,
    authorization: String,
    /// Of a person who is signed in to the pages.
    cookie: String,
}

impl Rest {
    /// With the rights of an administrator.
    pub async fn new(system: &System) -> Result<Self> {
        let made = system.run(&["api-client", "create", "--server", "--role", "system-administrator", "-o", "json"])?;
        let made: Value = serde_json::from_slice(&made)?;
        let mut roots = certificates_from_pem(&std::fs::read(system.demo().join("ca.pem"))?)?;
        roots.extend(certificates_from_pem(&std::fs::read(system.demo().join("central/vendor-root.pem"))?)?);
        let tls = client_config(roots.iter().map(Vec::as_slice), None)?;
        let http = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().http1_only();
        // The sign-in's answer, which has the cookie, leads on.
        let http = http.redirect(reqwest::redirect::Policy::none()).build()?;
        let (base, metrics) = (system.pages_url(), system.metrics_url(&system.active()?)?);
        let mut rest = Self { http, base, metrics, authorization: String::new(), cookie: String::new() };
        let asked = json!({
            "grant_type": "client_credentials", "client_id": made["id"], "client_secret": made["secret"]
        });
        let answer = rest.http.post(format!("{}/oauth/token", rest.base)).json(&asked).send().await?;
        let answer: Value = answer.error_for_status()?.json().await?;
        rest.authorization = format!("Bearer {}", answer["access_token"].as_str().context("no access token")?);
        rest.cookie = rest.sign_in(system).await?;
        Ok(rest)
    }

    /// Signs a person in and returns the cookie of the session.
    async fn sign_in(&self, system: &System) -> Result<String> {
        let file = system.demo().join("bench-password");
        std::fs::write(&file, PASSWORD)?;
        let file = file.to_str().context("the demo's folder is no text")?;
        system.run(&["user", "create", PERSON, "--role", "system-administrator", "--password-file", file])?;
        let form = [("name", PERSON), ("password", PASSWORD)];
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http.post(format!("{}/sign-in", self.base)).header("origin", &self.base);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let answer = request.send().await?;
        let cookie = answer.headers().get("set-cookie").and_then(|cookie| cookie.to_str().ok());
        let cookie = cookie.with_context(|| format!("no session: {}", answer.status()))?;
        Ok(cookie.split(';').next().unwrap_or_default().to_owned())
    }

    /// The JSON at a path of REST, or nothing of a page.
    async fn get(&self, path: &str) -> Result<Value> {
        if path.starts_with('/') {
            let request = self.http.get(format!("{}{path}", self.base)).header("cookie", &self.cookie);
            let answer = request.send().await?;
            // A session that has ended leads to the sign-in.
            if answer.status() != reqwest::StatusCode::OK {
                bail!("{path}: {}", answer.status());
            }
            answer.bytes().await?;
            return Ok(Value::Null);
        }
        let (place, post) = path.strip_suffix(" POST").map_or((path, false), |place| (place, true));
        let url = match place.strip_prefix("../") {
            Some(place) => format!("{}/api/v1/{place}", self.base),
            None if place.starts_with('?') => format!("{}/api/v1/accounts{place}", self.base),
            None => format!("{}/api/v1/accounts/{place}", self.base),
        };
        let request = match post {
            true => self.http.post(url).json(&json!({ "limit": 100, "offset": 20 })),
            false => self.http.get(url),
        };
        let answer = request.header("authorization", &self.authorization).send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        if !status.is_success() {
            bail!("{path}: {status} {}", String::from_utf8_lossy(&body));
        }
        Ok(serde_json::from_slice(&body)?)
    }

    /// How many instances an account has.
    pub async fn instances(&self, account: &str) -> Result<u64> {
        let page = self.get(&format!("{account}/product-instances?limit=1")).await?;
        page["totalRecords"].as_u64().context("no totalRecords")
    }

    /// Each list so many times: the latencies until the whole answer is here.
    pub async fn lists(&self, times: usize, when: &str) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (what, paths) in LISTS {
            // A part of a list that is slow must not hide behind the others.
            let mut worst: Option<Histogram<u64>> = None;
            for path in paths {
                let mut latencies = Histogram::<u64>::new(3)?;
                for _ in 0..times {
                    let began = Instant::now();
                    self.get(path).await?;
                    latencies.record(began.elapsed().as_micros() as u64)?;
                }
                if worst.as_ref().is_none_or(|worst| p99(worst) < p99(&latencies)) {
                    worst = Some(latencies);
                }
            }
            let worst = worst.context("a list without a path")?;
            let ms = |quantile| worst.value_at_quantile(quantile) as f64 / 1e3;
            let what = format!("{what}, {when}: p50 {:.1} ms, max {:.1} ms; p99", ms(0.5), ms(1.0));
            rows.push(Row { what, unit: "ms", runs: Runs(vec![ms(0.99)]), target: Some("≤ 50") });
        }
        Ok(rows)
    }

    /// Answers granted so far by the active node.
    async fn granted(&self) -> Result<f64> {
        let text = self.http.get(&self.metrics).send().await?.text().await?;
        let line =
            text.lines().find_map(|line| line.strip_prefix("licraft_product_answers_total{answer=\"granted\"} "));
        Ok(line.context("no count of granted answers")?.trim().parse()?)
    }

    /// What `work` gives, and the answers granted a second meanwhile.
    pub async fn granted_in<T>(&self, work: impl Future<Output = T>) -> Result<(T, f64)> {
        let (before, began) = (self.granted().await?, Instant::now());
        let done = work.await;
        let seconds = began.elapsed().as_secs_f64();
        Ok((done, (self.granted().await? - before) / seconds))
    }

    /// Synchronizes each of the accounts once.
    pub async fn synchronize_all(&self, accounts: impl Iterator<Item = String>) -> Result<()> {
        let each = |account: String| async move {
            let url = format!("{}/api/v1/accounts/{account}/synchronization", self.base);
            for _ in 0..120 {
                let answer = self.http.post(&url).header("authorization", &self.authorization).send().await?;
                if answer.status().is_success() {
                    return Ok(());
                }
                tokio::time::sleep(SYNC_PAUSE).await;
            }
            bail!("{account} does not synchronize")
        };
        let mut pace = tokio::time::interval(PACE);
        for account in accounts {
            pace.tick().await;
            each(account).await?;
        }
        Ok(())
    }
}

fn p99(latencies: &Histogram<u64>) -> u64 {
    latencies.value_at_quantile(0.99)
}
