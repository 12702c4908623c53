//! What browser pages are made of, whoever serves them: assets, forms, lists, security headers, signing in.

pub mod assets;
pub mod attempts;
pub mod form;
pub mod likings;
pub mod list;
pub mod shield;
pub mod sign_in;
pub mod view;
