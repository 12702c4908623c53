//! QR codes (ISO/IEC 18004) as drawings in a page.

use qrcode::{Color, EcLevel, QrCode};
use std::fmt::Write;

/// Light modules that the standard wants around a code.
const QUIET: usize = 4;

/// A code as the path of a square SVG drawing with sides of `size`.
pub struct Qr {
    pub size: usize,
    pub path: String,
}

impl Qr {
    /// None for a text that is too long for a code: more than some 2,300 bytes.
    pub fn of(text: &str) -> Option<Self> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
        let (width, modules) = (code.width(), code.to_colors());
        let mut path = String::new();
        for (y, row) in modules.chunks(width).enumerate() {
            let mut x = 0;
            for run in row.chunk_by(|a, b| a == b) {
                if run[0] == Color::Dark {
                    // Writing to a string does not fail.
                    let _ = write!(path, "M{} {}h{}v1h-{2}z", x + QUIET, y + QUIET, run.len());
                }
                x += run.len();
            }
        }
        Some(Self { size: width + 2 * QUIET, path })
    }
}
