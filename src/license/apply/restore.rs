//! The state that a restored server begins with.

use super::*;

impl State {
    /// This state as another server goes on with it: a life of its own, no members but the node that restores, no
    /// virtual address, nobody signed in, and ids, numbers of batches and terms beyond what the original can have given out since.
    ///
    /// `mark` is random, 1 to [`MAX_RESTORE_MARK`]: two servers restored from one backup differ in it. `member` is the
    /// node that restores.
    #[must_use]
    pub fn restored(mut self, at: Millis, mark: u64, member: Member) -> Self {
        let Meta { now, incarnation, last_batch: (term, ..), .. } = self.meta;
        let now = now.max(at);
        (self.meta.now, self.meta.expiry, self.meta.clock_ahead) = (now, now, 0);
        let lost = (self.meta.last_id, self.meta.last_id + RESTORED_IDS);
        self.meta.last_id = lost.1;
        self.meta.lost_ids.push(lost);
        if self.meta.lost_ids.len() > MAX_RESTORES_KEPT {
            self.meta.lost_ids.remove(0);
        }
        self.revocation_list.number += RESTORED_LISTS;
        self.meta.last_batch = (term + RESTORED_TERMS, 0, 0);
        self.meta.incarnation = mark << RESTORE_MARK_SHIFT | incarnation & LIVES;
        let gone = [AlertKind::ClusterDegraded, AlertKind::WitnessLost, AlertKind::DiskSpace, AlertKind::ClockSkew];
        self.alerts = self.alerts.into_iter().filter(|(key, _)| !gone.contains(&key.kind)).collect();
        self.role_changes.clear();
        Arc::make_mut(&mut self.settings).vip.clear();
        let message =
            format!("This server was restored from a backup, on {}; later changes are not in it.", member.name);
        self.members.clear();
        self.members.insert(member.node_id, Arc::new(Member { joined: now, ..member }));
        let mut apply = Apply {
            state: &mut self,
            changes: &mut Changes::new(),
            actor: "restore",
            now,
            before: now,
            unsettled: Vec::new(),
        };
        apply.end_sessions();
        apply.audit("restore", &message);
        apply.event(Severity::Major, None, "restored", message);
        apply.begin_life();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_server_shares_no_number_with_the_original() {
        let hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo".into();
        let administrator = User::new("admin".into(), Role::SystemAdministrator, hash, false);
        let member = |node_id: u64, name: &str| Member {
            node_id,
            name: name.into(),
            public_address: "10.0.0.5".into(),
            cluster_address: "10.0.0.5:7441".into(),
            witness: false,
            joined: Millis(0),
            retired: false,
        };
        let settings =
            Settings { vip: vec!["10.0.0.12".into()], host_common_name: "lm.test".into(), ..Settings::default() };
        let alert = Alert {
            key: AlertKey { kind: AlertKind::WitnessLost, source: "witness".into() },
            severity: Severity::Minor,
            account: None,
            raised: Millis(0),
            due: None,
            message: "gone".into(),
            action: "look".into(),
            acknowledged: None,
        };
        let mut state = State::default();
        assert!(state.admit_batch((3, 2, 9), &mut Changes::new()));
        for command in [
            Command::Initialize { server_uid: "00ff".into(), administrator },
            Command::SetSettings { settings },
            Command::PutMember { member: member(1, "a") },
            Command::PutMember { member: member(2, "b") },
            Command::RaiseAlert { alert },
            Command::BeginSession { id: [1; 32], user: "admin".into(), source: "10.0.0.1".into() },
            Command::Resume { node_id: 2, term: 3, cause: "start".into() },
        ] {
            let request = Request { id: 0, actor: "test".into(), command };
            let outcome = state.apply(Stamp::at(Millis(100)), &request, &mut Changes::new());
            assert_eq!(outcome, Outcome::Done);
        }
        let restored = state.clone().restored(Millis(50), MAX_RESTORE_MARK, member(1, "c"));
        assert_eq!(restored.check(), [""; 0]);
        let (meta, before) = (restored.meta(), state.meta());
        assert_eq!((meta.now, &meta.server_uid), (Millis(100), &before.server_uid));
        assert_eq!(meta.last_id, before.last_id + RESTORED_IDS);
        assert_eq!(restored.revocation_list().number, RESTORED_LISTS);
        assert_eq!(meta.incarnation, (MAX_RESTORE_MARK << 32) + 2);
        assert!(meta.incarnation < 1 << 53, "JSON holds it");
        assert!(!restored.clone().admit_batch((1_000_000, 1, 1), &mut Changes::new()), "the original's");
        let names: Vec<&str> = restored.members().map(|member| member.name.as_str()).collect();
        assert_eq!((names, restored.role_changes().count(), restored.alerts().count()), (vec!["c"], 0, 0));
        assert_eq!(restored.sessions_of("admin", Millis(0)).count(), 0);
        assert_eq!(restored.audit(0).last().map(|entry| entry.action.as_str()), Some("restore"));
        let settings = restored.settings();
        assert_eq!((settings.vip.len(), settings.host_common_name.as_str()), (0, "lm.test"));
        let lost = |id| restored.readmits(InstanceId(id));
        assert!(!lost(before.last_id) && lost(before.last_id + 1) && lost(meta.last_id) && !lost(meta.last_id + 1));
        // A second restore is another life again, whatever the mark.
        let again = restored.restored(Millis(50), 1, member(1, "c"));
        assert_eq!(again.meta().incarnation, (1 << 32) + 3);
    }
}
