//! `--account` and `--virtual-account`, as several commands have them.

use crate::proto::admin::VirtualAccountRef;

/// Where: in which account and virtual account.
#[derive(clap::Args, Debug)]
pub struct Place {
    /// Name or #ID of the account; needed only where there are several.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Name or #ID of the virtual account.
    #[arg(long, alias = "va", value_name = "VIRTUAL_ACCOUNT")]
    virtual_account: Option<String>,
}

impl From<Place> for VirtualAccountRef {
    fn from(place: Place) -> Self {
        Self { account: place.account.unwrap_or_default(), virtual_account: place.virtual_account.unwrap_or_default() }
    }
}
