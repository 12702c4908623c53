//! Every limit and period of the licensing rules, with its reason.
//!
//! Two reasons recur: a record must stay far below 128 KiB (larger values are not stored in line by the image), and
//! one command must be a bounded amount of work on every replica.

use super::ids::Millis;

// ---- texts (bytes) ----

/// Names of accounts, virtual accounts, users, members: fit a table column.
pub const MAX_NAME: usize = 128;
/// An entitlement tag: the vendor's longest are about 100.
pub const MAX_TAG: usize = 128;
/// A certificate in PEM: a vendor root with the largest RSA key is about 3 KiB.
pub const MAX_PEM: usize = 8 * 1024;
/// Descriptions, reasons, addresses, host names: a host name has at most 253.
pub const MAX_TEXT: usize = 256;
/// A sentence in an alert or event: longer ones are cut.
pub const MAX_MESSAGE: usize = 512;
/// A password hash in PHC format is about 100.
pub const MAX_PASSWORD_HASH: usize = 256;
/// Shorter passwords fall to guessing (NIST SP 800-63B, 5.1.1.2 asks for 8); the setting may ask for more.
pub const MIN_PASSWORD_BYTES: u64 = 8;
/// Longer passwords only cost hashing time.
pub const MAX_PASSWORD_BYTES: u64 = 256;
/// A certificate, request or sealed key: an RSA-4096 one is below 3 KiB.
pub const MAX_BLOB: usize = 4 * 1024;
/// Leaf, issuing authority, root, and one in reserve for a cross-signed chain.
pub const MAX_CHAIN: usize = 4;

/// The message of the day, in characters: a paragraph, not a page.
pub const MAX_MESSAGE_OF_THE_DAY: usize = 500;

// ---- counts ----

/// Licenses of one instance. Also the width of the bit set in [`super::LastAnswer::Authorized`].
pub const MAX_LICENSES_PER_INSTANCE: usize = 64;
/// A license count. With [`MAX_INSTANCES`] (2^20) all sums stay below 2^60, far from the end of an `i64`.
pub const MAX_COUNT: u64 = 1 << 40;
/// Product instances of a server: ten times the hundred thousand that it is measured with.
pub const MAX_INSTANCES: u64 = 1 << 20;
/// Terms of one license in one virtual account: a dozen renewals and some add-ons.
pub const MAX_TERMS: usize = 32;
/// Licenses that cover one: a product line has a handful of tiers.
pub const MAX_COVERS: usize = 8;
/// Licenses of one account. The frozen usage of a synchronization (tag and two counts of each) lies in the account's
/// record and must fit 128 KiB beside its certificates.
pub const MAX_LICENSES_PER_ACCOUNT: usize = 600;
const _: () =
    assert!(MAX_LICENSES_PER_ACCOUNT * (MAX_TAG + 22) + (MAX_CHAIN + 4) * MAX_BLOB + 8 * MAX_TEXT < 128 * 1024);
/// Labels of one license, and bytes of one: a handful of words on a line.
pub const MAX_LABELS: usize = 16;
pub const MAX_LABEL: usize = 64;
/// Local accounts: each page and each synchronization round walks them.
pub const MAX_ACCOUNTS: usize = 1_000;
/// Virtual accounts of one account: a synchronization visits each of them for each license.
pub const MAX_VIRTUAL_ACCOUNTS: usize = 1_000;
/// Tokens of one virtual account; one that can no longer be used makes room.
pub const MAX_TOKENS_PER_VIRTUAL_ACCOUNT: usize = 1_000;
/// Uses of a token: no more than there can be instances ever registered with it in a busy century.
pub const MAX_TOKEN_USES: u64 = 1 << 40;
/// People.
pub const MAX_USERS: usize = 1_000;
/// Accounts or virtual accounts that one user administers: a table on one page.
pub const MAX_USER_SCOPE: usize = 100;
/// Sessions at once: ten for each user there may be, some 200 bytes each.
pub const MAX_SESSIONS: usize = 10_000;
/// Sessions of one user at once: more than one person has browsers; a further one ends the stalest.
pub const MAX_SESSIONS_PER_USER: usize = 10;
/// API clients of one account, or of the server: a program each.
pub const MAX_API_CLIENTS: usize = 100;
/// Certificates of administrators elsewhere: a program or a person each.
pub const MAX_ADMIN_IDENTITIES: usize = 100;
/// Further devices of one instance: clusters of products have up to some twenty nodes, and the record stays below 20 KiB.
pub const MAX_DEVICES: usize = 32;
/// Members ever, the retired ones included, since a node id is never given again.
pub const MAX_MEMBERS: usize = 10_000;
/// Virtual addresses: one IPv4 and one IPv6, and room for a move.
pub const MAX_ADDRESSES: usize = 4;
/// Alerts raised from outside (about nodes); those the state keeps itself are bounded by what they are about.
pub const MAX_RAISED_ALERTS: usize = 1_000;

// ---- what people set for themselves ----

/// Rows of one page of a list that may be chosen; with the longest texts the first one with 50 is still below 100 KB.
pub const LIST_ROWS: [u64; 4] = [25, 50, 100, 250];
pub const DEFAULT_LIST_ROWS: u64 = 50;
/// Name of a time zone: the longest of the IANA database has 32 bytes.
pub const MAX_TIME_ZONE: usize = 64;

// ---- rings: the oldest makes room ----

/// Events held in the state; older ones are in the append-only audit file of each node.
pub const MAX_EVENTS: u64 = 10_000;
/// Events in one record of an image: a busy ring is written in few pieces. Divides [`MAX_EVENTS`].
pub const EVENT_BLOCK: u64 = 50;
/// What one event is about: an instance and all licenses that it gave up and took.
pub const MAX_SUBJECTS: usize = 2 * MAX_LICENSES_PER_INSTANCE + 2;
const _: () = assert!(EVENT_BLOCK as usize * (MAX_SUBJECTS * 10 + MAX_MESSAGE + 2 * MAX_NAME + 64) < 128 * 1024);
/// Audit entries held in the state; all of them are in the audit file of each data node.
pub const MAX_AUDIT: u64 = 10_000;
/// Audit entries in one record of an image. Divides [`MAX_AUDIT`].
pub const AUDIT_BLOCK: u64 = 50;
/// Changes of the active node.
pub const MAX_ROLE_CHANGES: usize = 1_000;
/// Administrative requests remembered, so that a repeat gets its first outcome…
pub const MAX_REQUESTS: usize = 10_000;
/// … and for how long: far beyond any client's retries.
pub const REQUEST_MEMORY: u64 = Millis::DAY;

/// Days of which the use of a pool is kept: more than a year, so that one compares with the year before.
pub const MAX_USAGE_DAYS: usize = 400;

/// Cleared alerts: months of a server that has an alert now and then.
pub const MAX_PAST_ALERTS: u64 = 1_000;

// ---- work done along with a command, as time passes ----

/// Pools re-evaluated because a term started or ended.
pub const BOUNDARIES_PER_APPLY: usize = 64;
/// Instances noted as failed to connect or to renew: a site that goes dark is noted within a day's commands.
pub const MARKS_PER_APPLY: usize = 64;
/// Instances released after their grace.
pub const LAPSES_PER_APPLY: usize = 4;
/// Accounts whose synchronization became overdue.
pub const OVERDUE_PER_APPLY: usize = 16;
/// Sessions that have ended by themselves removed, whenever one begins.
pub const SESSIONS_PER_APPLY: usize = 16;
/// Remembered requests forgotten: more than one, so that the memory shrinks while in use.
pub const FORGET_PER_APPLY: usize = 4;

// ---- periods ----

/// How long a registration token is valid unless said otherwise, and the range that may be said, in days.
pub const TOKEN_DAYS: u64 = 30;
pub const MIN_TOKEN_DAYS: u64 = 1;
pub const MAX_TOKEN_DAYS: u64 = 365;
/// An ID certificate is valid for 365 days, backdated 5 minutes for products whose clock is behind.
pub const CERTIFICATE_LIFE: u64 = 365 * Millis::DAY;
pub const CERTIFICATE_BACKDATE: u64 = 5 * Millis::MINUTE;
/// How far the dates of a certificate made by the leader may lie from the state time of its command: state time may
/// be ahead of its clock after a clock was set back.
pub const CERTIFICATE_SKEW: u64 = Millis::DAY;
/// When a product should ask again.
pub const RENEW_IN_COMPLIANCE: u64 = 30 * Millis::DAY;
pub const RENEW_OUT_OF_COMPLIANCE: u64 = 12 * Millis::HOUR;
/// An authorization lapses this long after the last contact…
pub const AUTHORIZATION_LIFE: u64 = 90 * Millis::DAY;
/// … and its instance is released after this much more.
pub const LAPSE_GRACE: u64 = 90 * Millis::DAY;
/// From then a product that is out of compliance may enforce.
pub const ENFORCE_AFTER: u64 = 90 * Millis::DAY;
/// After service resumed nothing expires for this long: our outage never costs a product its license.
pub const RESUME_GRACE: u64 = 24 * Millis::HOUR;
/// A synchronization is due this long after the last success…
pub const SYNC_DUE: u64 = 30 * Millis::DAY;
/// … and after so long central drops the server.
pub const SYNC_DROPPED: u64 = 90 * Millis::DAY;
/// So long before a term ends an alert says so, unless the setting says otherwise, and what may be set, in days.
pub const LICENSES_EXPIRING_DAYS: u64 = 30;
pub const MAX_LICENSES_EXPIRING_DAYS: u64 = 365;
/// So long after a term ended, and left fewer licenses, an alert says so: then it is news to nobody.
pub const LICENSES_EXPIRED_SHOWN: u64 = 90 * Millis::DAY;
/// A product that is in compliance calls every 30 days; so much later it has failed to connect. Agents try for days
/// before they give up, and a site may be dark over a long weekend.
pub const CONTACT_GRACE: u64 = 5 * Millis::DAY;
/// A product renews its ID certificate from day 180 on; one that ends so soon was not renewed at five contacts.
pub const ID_CERTIFICATE_EXPIRING: u64 = 30 * Millis::DAY;
/// As far before the day of release an instance has failed to connect, and its authorization has lapsed.
pub(super) const SILENT_BEFORE: u64 =
    (AUTHORIZATION_LIFE + LAPSE_GRACE - RENEW_IN_COMPLIANCE - CONTACT_GRACE) / Millis::DAY;
pub(super) const LAPSED_BEFORE: u64 = LAPSE_GRACE / Millis::DAY;
/// A page left alone for so long is signed out.
pub const SESSION_IDLE: u64 = 30 * Millis::MINUTE;
/// Nobody stays signed in longer: a working day.
pub const SESSION_LIFE: u64 = 12 * Millis::HOUR;
/// An admin identity is valid for so many days unless said otherwise, and at most; like a node's certificate, but nobody
/// renews it by itself.
pub const ADMIN_IDENTITY_DAYS: u64 = 90;
pub const MAX_ADMIN_IDENTITY_DAYS: u64 = 366;
/// Use of a session is recorded this often: a busy page costs a command in five minutes.
pub const SESSION_TOUCH: u64 = 5 * Millis::MINUTE;

// ---- the clock ----

/// A wall clock so much ahead of where even running leads is doubted. No leap second, drift, or step of a time server at
/// work comes near it, and products may be off by as much.
pub const CLOCK_JUMP: u64 = Millis::HOUR;
/// A node that was off is believed what its clock says, up to so long after the last stamp: nobody can tell an outage of
/// weeks from a clock that is weeks ahead, and an outage must raise no alarm. After a year every ID certificate has ended.
pub const LONGEST_OUTAGE: u64 = CERTIFICATE_LIFE;

// ---- the products' certificate ----

/// Another one is asked for so long before it ends: with a synchronization a month it comes in time.
pub const SERVER_CERTIFICATE_RENEWAL: u64 = 120 * Millis::DAY;
/// So long before it ends an alert says so.
pub const SERVER_CERTIFICATE_EXPIRING: u64 = 30 * Millis::DAY;
/// Names and addresses in it: two virtual addresses, the common name, and nodes past and present.
pub const MAX_SERVER_HOSTS: usize = 32;

/// Names in a certificate that an administrator brings: what public authorities put into one.
pub const MAX_BROWSER_HOSTS: usize = 100;

// ---- the sealing key ----

/// Secrets sealed anew by one command: some hundred bytes each, a sealed key somewhat more.
pub const RESEALED_PER_COMMAND: usize = 256;

// ---- revoked ID certificates ----

/// Revoked certificates that have not ended. Each instance may have replaced its own twice within a year, and a fleet of
/// 300,000 may deregister; some 50 bytes each.
pub const MAX_REVOKED: usize = 1 << 20;
/// Of them in one record of an image, some 2 KiB. Divides [`MAX_REVOKED`].
pub const REVOKED_BLOCK: usize = 64;
/// Records of ended ones dropped along with a command.
pub const REVOKED_BLOCKS_PER_APPLY: usize = 4;
/// Another list is issued so long after the last one…
pub const REVOCATION_LIST_PERIOD: u64 = Millis::DAY;
/// … which may be used for so long: an outage of some days makes no product's certificate unverifiable.
pub const REVOCATION_LIST_LIFE: u64 = 7 * Millis::DAY;

// ---- restored servers ----

/// Where the mark of a restore stands in an incarnation: above the count of lives, which never gets this far.
pub const RESTORE_MARK_SHIFT: u32 = 32;
/// The count of lives in an incarnation.
pub const LIVES: u64 = (1 << RESTORE_MARK_SHIFT) - 1;
/// With the count of lives a number below 2^53, which every JSON reader keeps exactly (RFC 8259, section 6).
pub const MAX_RESTORE_MARK: u64 = (1 << 20) - 1;
/// Ids that the original may have given out since the backup, and that mean something else there: far more than it can
/// have, while 2^23 restores stay below 2^53.
pub const RESTORED_IDS: u64 = 1 << 30;
/// Revocation lists that the original may have issued since the backup: one a day, for longer than anybody waits.
pub const RESTORED_LISTS: u64 = 1 << 20;
/// Terms that the original may have had since the backup; sealed batches of them must not be replayed to the restored
/// server, which has the same sealing key. At an election a millisecond this is 49 days without a leader.
pub const RESTORED_TERMS: u64 = 1 << 32;
/// Restores of which products are readmitted; ID certificates run for a year.
pub const MAX_RESTORES_KEPT: usize = 16;
