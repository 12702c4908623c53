//! `licraft user`.

use super::Context;
use super::error::CliError;
use super::output::{Format, Row, cell, print_list, print_one, put, time};
use super::password::{Password, PasswordFile};
use super::terminal::Yes;
use super::totp;
use crate::proto::admin::users_client::UsersClient;
use crate::proto::admin::{
    CreateUserRequest, ListUsersRequest, SetDisabledRequest, SetPasswordRequest, SetRoleRequest, User, UserRef,
    UserRole, VirtualAccountRef,
};
use clap::Subcommand;
use std::process::ExitCode;

/// People who may sign in to the pages.
#[derive(clap::Args, Debug)]
#[command(after_help = "Roles:
  system-administrator           everything
  system-operator                accounts, licensing and synchronization, but no users, settings or nodes
  local-account-administrator    licensing of the accounts named with --account
  virtual-account-administrator  tokens and instances of the virtual accounts named with --virtual-account
  read-only                      sees everything but secrets, changes nothing

Examples:
  licraft user list
  licraft user create ann --role system-operator
  licraft user passwd admin")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List users with their roles.
    #[command(after_help = "Examples:\n  licraft user list -o json")]
    List,
    /// Make a user; the password must be changed at the first sign-in if it was made here.
    #[command(after_help = "Examples:
  licraft user create ann --role system-operator
  licraft user create bob --role local-account-administrator --account TEST
  licraft user create eve --role virtual-account-administrator --virtual-account TEST/Lab --password-file eve.password")]
    Create(Create),
    /// Give a user another password, which ends the user's sessions. Always works on a node's own socket.
    #[command(
        after_help = "Examples:\n  licraft user passwd admin\n  licraft user passwd ann --password-file ann.password"
    )]
    Passwd(Passwd),
    /// Give a user another role.
    #[command(after_help = "Examples:\n  licraft user role ann read-only")]
    Role(ChangeRole),
    /// Let a user sign in no more; sessions end at once.
    #[command(after_help = "Examples:\n  licraft user disable ann --yes")]
    Disable(Change),
    /// Let a disabled user sign in again.
    #[command(after_help = "Examples:\n  licraft user enable ann")]
    Enable(Named),
    /// Ask for a code of an authenticator beside the password.
    Totp(totp::Args),
    /// End all sessions of a user.
    #[command(after_help = "Examples:\n  licraft user sign-out ann")]
    SignOut(Named),
    /// Remove a user.
    #[command(after_help = "Examples:\n  licraft user delete ann --yes")]
    Delete(Change),
}

#[derive(clap::Args, Debug)]
struct Create {
    name: String,
    /// What the user may do; see `licraft user --help`.
    #[arg(long, default_value = "read-only")]
    role: String,
    #[command(flatten)]
    places: Places,
    #[command(flatten)]
    password: PasswordFile,
}

#[derive(clap::Args, Debug)]
struct Passwd {
    name: String,
    #[command(flatten)]
    password: PasswordFile,
}

#[derive(clap::Args, Debug)]
struct ChangeRole {
    name: String,
    role: String,
    #[command(flatten)]
    places: Places,
}

#[derive(clap::Args, Debug)]
struct Change {
    name: String,
    #[command(flatten)]
    yes: Yes,
}

#[derive(clap::Args, Debug)]
struct Named {
    name: String,
}

#[derive(clap::Args, Debug)]
struct Places {
    /// Account of a local account administrator; may be repeated.
    #[arg(long = "account", value_name = "ACCOUNT")]
    accounts: Vec<String>,
    /// Virtual account of a virtual account administrator; may be repeated.
    #[arg(long = "virtual-account", visible_alias = "va", value_name = "ACCOUNT/VIRTUAL-ACCOUNT", value_parser = place)]
    virtual_accounts: Vec<VirtualAccountRef>,
}

fn place(text: &str) -> Result<VirtualAccountRef, String> {
    let (account, va) = text.split_once('/').ok_or("write it as ACCOUNT/VIRTUAL-ACCOUNT")?;
    Ok(VirtualAccountRef { account: account.to_owned(), virtual_account: va.to_owned() })
}

impl Places {
    fn role(self, role: String) -> UserRole {
        UserRole { role, accounts: self.accounts, virtual_accounts: self.virtual_accounts }
    }
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.verb {
        Verb::List => list(context).await?,
        Verb::Create(args) => create(args, context).await?,
        Verb::Passwd(args) => passwd(args, context).await?,
        Verb::Role(args) => {
            let client = context.client().await?;
            let done = format!("User {} is {} now.", args.name, args.role);
            let asked = SetRoleRequest { name: args.name, role: Some(args.places.role(args.role)) };
            client.call(asked, |c, r| async move { UsersClient::new(c).set_role(r).await }).await?;
            context.done(&done, 0);
        }
        Verb::Disable(args) => {
            args.yes.confirm(&format!("Disable user {}?", args.name))?;
            set_disabled(args.name, true, context).await?;
        }
        Verb::Enable(args) => set_disabled(args.name, false, context).await?,
        Verb::Totp(args) => totp::run(args, context).await?,
        Verb::SignOut(args) => {
            let client = context.client().await?;
            let asked = UserRef { name: args.name.clone() };
            client.call(asked, |c, r| async move { UsersClient::new(c).sign_out(r).await }).await?;
            context.done(&format!("User {} is signed out everywhere.", args.name), 0);
        }
        Verb::Delete(args) => {
            args.yes.confirm(&format!("Delete user {}?", args.name))?;
            let client = context.client().await?;
            let asked = UserRef { name: args.name.clone() };
            client.call(asked, |c, r| async move { UsersClient::new(c).delete(r).await }).await?;
            context.done(&format!("User {} is deleted.", args.name), 0);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(context: &Context) -> Result<(), CliError> {
    let client = context.client().await?;
    let reply = client.call(ListUsersRequest {}, |c, r| async move { UsersClient::new(c).list(r).await }).await?;
    print_list(context.format, "users", &reply.users.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

async fn create(args: Create, context: &Context) -> Result<(), CliError> {
    let client = context.client().await?;
    let password = args.password.password(&args.name)?;
    let asked = CreateUserRequest {
        name: args.name.clone(),
        role: Some(args.places.role(args.role.clone())),
        password: password.text.to_string(),
        must_change: password.made,
    };
    client.call(asked, |c, r| async move { UsersClient::new(c).create(r).await }).await?;
    say(context, &format!("User {} may sign in as {}.", args.name, args.role), args.name, &password);
    Ok(())
}

async fn passwd(args: Passwd, context: &Context) -> Result<(), CliError> {
    let client = context.client().await?;
    let password = args.password.password(&args.name)?;
    let asked =
        SetPasswordRequest { name: args.name.clone(), password: password.text.to_string(), must_change: password.made };
    client.call(asked, |c, r| async move { UsersClient::new(c).set_password(r).await }).await?;
    say(context, &format!("User {} has another password; open sessions have ended.", args.name), args.name, &password);
    Ok(())
}

fn say(context: &Context, sentence: &str, name: String, password: &Password) {
    match context.format {
        Format::Table => put(&format!("{sentence}\n{}", password.line())),
        format => print_one(format, &Row::new().with("user", cell(name)).with("password", password.cell())),
    }
}

async fn set_disabled(name: String, disabled: bool, context: &Context) -> Result<(), CliError> {
    let client = context.client().await?;
    let done = if disabled { "is disabled" } else { "may sign in again" };
    let done = format!("User {name} {done}.");
    let asked = SetDisabledRequest { name, disabled };
    client.call(asked, |c, r| async move { UsersClient::new(c).set_disabled(r).await }).await?;
    context.done(&done, 0);
    Ok(())
}

fn row(user: &User) -> Row {
    let role = user.role.clone().unwrap_or_default();
    let vas = role.virtual_accounts.iter().map(|v| format!("{}/{}", v.account, v.virtual_account));
    let places: Vec<String> = role.accounts.iter().cloned().chain(vas).collect();
    Row::new()
        .with("user", cell(user.name.as_str()))
        .with("role", cell(role.role))
        .with("places", if places.is_empty() { cell("all") } else { cell(places.join(", ")) })
        .with("status", cell(if user.disabled { "disabled" } else { "enabled" }))
        .with("code", cell(if user.totp { "asked for" } else { "not asked for" }))
        .with("sessions", cell(user.sessions))
        .with("password_changed", time(user.password_changed_ms))
        .json_only("must_change_password", cell(user.must_change))
        .json_only("created", time(user.created_ms))
}
