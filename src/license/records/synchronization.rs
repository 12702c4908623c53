//! Where an account stands with central.

use super::*;

/// When an account synchronizes by itself, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Schedule {
    Off,
    /// At this minute of each day.
    Daily {
        minute: u16,
    },
    /// 0 is Monday.
    Weekly {
        weekday: u8,
        minute: u16,
    },
    /// The 1st to the 28th, which each month has.
    Monthly {
        day: u8,
        minute: u16,
    },
}

impl Default for Schedule {
    /// In the night to Sunday: often enough that no account becomes overdue after one failure.
    fn default() -> Self {
        Self::Weekly { weekday: 6, minute: 120 }
    }
}

impl Schedule {
    const WEEKDAYS: [&str; 7] = ["Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"];

    /// Whether there is such a day and such a minute.
    #[must_use]
    pub const fn is_sound(self) -> bool {
        match self {
            Self::Off => true,
            Self::Daily { minute } => minute < 1440,
            Self::Weekly { weekday, minute } => weekday < 7 && minute < 1440,
            Self::Monthly { day, minute } => day >= 1 && day <= 28 && minute < 1440,
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minute = match *self {
            Self::Off => return f.write_str("only when asked"),
            Self::Daily { minute } => {
                f.write_str("daily")?;
                minute
            }
            Self::Weekly { weekday, minute } => {
                write!(f, "on {}", Self::WEEKDAYS.get(usize::from(weekday)).unwrap_or(&"no day"))?;
                minute
            }
            Self::Monthly { day, minute } => {
                write!(f, "on day {day} of each month")?;
                minute
            }
        };
        write!(f, " at {:02}:{:02} UTC", minute / 60, minute % 60)
    }
}

/// Where synchronization with central stands, per account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncState {
    /// The newest sequence number begun; 0 before the first.
    pub seq: u64,
    /// SHA-256 of the payload of central's last applied response (at first: to the registration).
    pub last_response: Digest32,
    /// A begun synchronization whose response has not been applied.
    pub outstanding: Option<SyncOutstanding>,
    pub last_success: Option<Millis>,
    /// Last success + 30 days.
    pub due: Option<Millis>,
    pub last_failure: Option<(Millis, String)>,
    /// `due` has passed and the alert says so.
    pub overdue: bool,
    pub schedule: Schedule,
    /// When `schedule` was set.
    pub scheduled_since: Millis,
    /// Central has heard that the account ends, and has freed the virtual account that it was bound to.
    pub closed: bool,
    /// So long overdue that central drops the server.
    pub dropped: bool,
    /// The next synchronization asks central to certify the account CA again.
    pub certify: bool,
}

impl SyncState {
    /// Whether central has heard, or may have heard, that the account ends.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.closed || self.outstanding.as_ref().is_some_and(|o| o.closing)
    }

    /// When it becomes overdue or, after that, so long overdue that central drops the server.
    pub(in crate::license) fn watched(&self) -> Option<Millis> {
        match (self.overdue, self.dropped) {
            (false, _) => self.due,
            (true, false) => self.due.map(|due| due.plus(SYNC_DROPPED - SYNC_DUE)),
            (true, true) => None,
        }
    }
}

/// The one request that may be outstanding: all that its document says, so that any later leader sends the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncOutstanding {
    pub seq: u64,
    pub begun: Millis,
    /// Which life of the server began it ([`Meta::incarnation`], [`Meta::incarnation_since`]).
    pub incarnation: u64,
    pub incarnation_since: Millis,
    /// [`SyncState::last_response`] when it was begun.
    pub previous: Digest32,
    /// Usage per license frozen at the cut, sorted by tag: (tag, in use, borrowed or, below zero, lent).
    pub usage: Vec<(String, u64, i64)>,
    pub instances: u64,
    /// The certificate for the products' ports that was wanted then.
    pub server: Option<ServerRequest>,
    /// It is the account's last one.
    pub closing: bool,
    /// [`SyncState::certify`] then.
    pub certify: bool,
}

/// What central is asked to sign for the products' ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRequest {
    pub names: ServerNames,
    /// PKCS#10 (RFC 2986), DER.
    pub csr: Vec<u8>,
}
