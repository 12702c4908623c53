//! The products side: agent.
