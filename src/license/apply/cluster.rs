//! Commands about the server itself: identity, settings, members, roles.

use super::*;

impl Apply<'_> {
    pub fn initialize(&mut self, server_uid: &str, administrator: &User) -> Done {
        if self.state.is_initialized() {
            return Err(refuse(Reason::State, "This server is already initialised."));
        }
        inputs::name("server identity", server_uid)?;
        inputs::user(administrator)?;
        if administrator.role != Role::SystemAdministrator {
            return Err(refuse(Reason::Invalid, "The first user must be a system administrator."));
        }
        self.state.meta.server_uid = server_uid.to_owned();
        self.state.meta.incarnation = 1;
        self.state.meta.incarnation_since = self.now;
        self.store_user(User { created: self.now, password_changed: self.now, totp: None, ..administrator.clone() });
        // So that images and snapshots hold every record from the beginning.
        self.changes.insert(RecordKey::Settings);
        let message = format!("Server {server_uid} was initialised by \"{}\".", administrator.name);
        self.event(Severity::Informational, None, "initialized", message);
        Ok(Outcome::Done)
    }

    pub fn set_settings(&mut self, settings: &Settings) -> Done {
        inputs::settings(settings)?;
        if let Some(login) = &settings.proxy_login {
            self.check_sealed("login of the proxy", login)?;
        }
        if *self.state.settings != *settings {
            let lead = self.state.settings.licenses_expiring_days;
            self.state.settings = Arc::new(settings.clone());
            if lead != settings.licenses_expiring_days {
                self.watch_terms_anew();
            }
            self.changes.insert(RecordKey::Settings);
            self.event(Severity::Informational, None, "settings-changed", "The settings were changed.".into());
        }
        Ok(Outcome::Done)
    }

    pub fn resume(&mut self, node_id: u64, term: u64, cause: &str) -> Done {
        inputs::text("cause", cause, MAX_TEXT)?;
        if !std::mem::take(&mut self.state.meta.resuming) {
            self.note_absence(self.before);
        }
        self.state.meta.resumed_at = self.now;
        let change = RoleChange { at: self.now, term, node_id, cause: cause.to_owned() };
        self.state.role_changes.insert((self.now, term), Arc::new(change));
        self.changes.insert(RecordKey::RoleChange(self.now, term));
        if self.state.role_changes.len() > MAX_ROLE_CHANGES
            && let Some(&((at, term), _)) = self.state.role_changes.get_min()
        {
            self.state.role_changes.remove(&(at, term));
            self.changes.insert(RecordKey::RoleChange(at, term));
        }
        let name = self.state.member(node_id).map_or_else(|| format!("Node {node_id}"), |m| m.name.clone());
        self.event(Severity::Informational, None, "active-changed", format!("{name} is active: {cause}."));
        Ok(Outcome::Done)
    }

    pub fn raise_incarnation(&mut self) -> Done {
        self.begin_life();
        Ok(Outcome::Done)
    }

    /// Requests begun in the life before are dropped: central refuses that life once it has heard of this one.
    pub fn begin_life(&mut self) {
        self.state.meta.incarnation += 1;
        self.state.meta.incarnation_since = self.now;
        let begun = self.state.accounts().filter(|a| a.sync.outstanding.is_some());
        for id in begun.map(|a| a.id).collect::<Vec<_>>() {
            self.change_account(id, |account| account.sync.outstanding = None);
        }
        let message = format!("This server's incarnation is now {}.", self.state.meta.incarnation & LIVES);
        self.event(Severity::Minor, None, "incarnation-raised", message);
    }

    pub fn put_member(&mut self, member: &Member) -> Done {
        inputs::name("node name", &member.name)?;
        inputs::text("public address", &member.public_address, MAX_TEXT)?;
        inputs::text("cluster address", &member.cluster_address, MAX_TEXT)?;
        let id = member.node_id;
        let known = self.state.member(id);
        if known.is_some_and(|m| m.retired) {
            let message = format!("Node {id} was retired; node ids are never given again.");
            return Err(refuse(Reason::State, message));
        }
        if member.retired {
            return Err(refuse(Reason::Invalid, "A member joins unretired; retire it by its own command."));
        }
        if known.is_none() && self.state.members.len() >= MAX_MEMBERS {
            let message = format!("This cluster has had {MAX_MEMBERS} members, the most there can be.");
            return Err(refuse(Reason::Limit, message));
        }
        let joined = known.map_or(self.now, |m| m.joined);
        if known.is_none() {
            let message = format!("{} joined as node {id}.", member.name);
            self.event(Severity::Informational, None, "member-joined", message);
        }
        self.state.members.insert(id, Arc::new(Member { joined, ..member.clone() }));
        self.changes.insert(RecordKey::Member(id));
        Ok(Outcome::Done)
    }

    pub fn retire_member(&mut self, node_id: u64) -> Done {
        let Some(member) = self.state.members.get_mut(&node_id) else {
            return Err(refuse(Reason::NotFound, format!("There is no node {node_id}.")));
        };
        if !member.retired {
            let member = Arc::make_mut(member);
            member.retired = true;
            let message = format!("{} (node {node_id}) was retired.", member.name);
            self.changes.insert(RecordKey::Member(node_id));
            self.event(Severity::Minor, None, "member-retired", message);
        }
        Ok(Outcome::Done)
    }

    pub fn note_event(&mut self, event: &NewEvent) -> Done {
        inputs::name("kind of event", &event.kind)?;
        let message = inputs::cut(&event.message, MAX_MESSAGE).to_owned();
        self.event(event.severity, event.account, &event.kind, message);
        Ok(Outcome::Done)
    }
}
