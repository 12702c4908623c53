//! The style sheet, the script and the icon: part of the program, served under names that hold a hash of the content.

use crate::pki::sha256;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use std::sync::LazyLock;

/// Bytes of the content hash in a name: enough that two contents never share one.
const HASH_BYTES: usize = 8;

struct Asset {
    path: String,
    content_type: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(name: &str, content_type: &'static str, content: &'static str) -> Self {
        let hash = hex::encode(&sha256(content.as_bytes())[..HASH_BYTES]);
        Self { path: format!("/assets/{hash}-{name}"), content_type, content }
    }
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style.css", "text/css; charset=utf-8", include_str!("assets/style.css")));
static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("live.js", "text/javascript; charset=utf-8", include_str!("assets/live.js")));
static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")));

/// Where the pages find the assets.
#[derive(Default)]
pub struct Assets;

impl Assets {
    pub fn style(&self) -> &'static str {
        &STYLE.path
    }
    pub fn script(&self) -> &'static str {
        &SCRIPT.path
    }
    pub fn icon(&self) -> &'static str {
        &ICON.path
    }
}

pub async fn serve(Path(file): Path<String>) -> Response {
    let known = [&STYLE, &SCRIPT, &ICON].into_iter().find(|a| a.path.strip_prefix("/assets/") == Some(&file));
    match known {
        Some(asset) => {
            let headers = [(CONTENT_TYPE, asset.content_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
            (headers, asset.content).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
