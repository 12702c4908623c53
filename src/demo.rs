//! The whole system on this machine, as real processes on loopback, driven by the operator's own commands.

mod failover;
mod plan;
mod processes;
mod scene;
mod setup;

pub use processes::end_with_parent;

use anyhow::{Context, Result, bail};
use plan::{Plan, Ports};
use scene::Scene;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// A dead node is started again after this, so that one can look at the cluster without it first.
const RESTART_AFTER: Duration = Duration::from_secs(15);

/// What `licraft demo` was asked for.
#[derive(Clone, Debug)]
pub struct DemoArgs {
    /// None: a fresh temporary folder.
    pub dir: Option<PathBuf>,
    /// Moves all ports; None: the documented ones.
    pub port_base: Option<u16>,
    /// Goes on alone, proves the failover and ends.
    pub non_interactive: bool,
}

/// Starts everything and stays until Ctrl-C, or until all is proven.
///
/// # Errors
/// When a port is busy, a process does not start, or something is not as it must be.
pub fn run(args: DemoArgs) -> Result<ExitCode> {
    // One thread: the processes are bound to the thread that starts them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(async {
        tokio::select! {
            result = play(args) => result,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.context("waiting for Ctrl-C")?;
                println!("\nEnding all processes of the demo.");
                Ok(ExitCode::SUCCESS)
            }
        }
    })
}

async fn play(args: DemoArgs) -> Result<ExitCode> {
    let ports = Ports::new(args.port_base);
    let fresh = args.dir.is_none();
    let dir = match args.dir {
        Some(dir) => std::path::absolute(dir).context("finding the demo's folder")?,
        None => tempfile::Builder::new().prefix("licraft-demo-").tempdir()?.keep(),
    };
    let plan = Plan { dir, ports };
    let busy = plan.busy();
    if !busy.is_empty() {
        let busy: Vec<String> = busy.iter().map(ToString::to_string).collect();
        bail!(
            "these addresses are in use: {}; end what uses them, or choose other ports with --port-base",
            busy.join(", ")
        );
    }
    let old = plan.dir.join(setup::DONE).exists();
    if !old && !fresh && plan.dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty and holds no finished demo; give an empty folder", plan.dir.display());
    }
    let mut scene = if old { setup::resume(plan).await? } else { setup::build(plan).await? };
    if args.non_interactive {
        failover::prove(&mut scene).await?;
        scene.end().await?;
        if fresh {
            std::fs::remove_dir_all(&scene.plan.dir).context("removing the demo's folder")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    invite(&scene).await?;
    watch(&mut scene).await
}

/// Tells what there is and what to try.
async fn invite(scene: &Scene) -> Result<()> {
    let plan = &scene.plan;
    let active = scene.active().await?;
    println!("\nEverything runs.\n");
    println!("  Pages       {}   user admin, password {}", plan.gui_url(), scene.password);
    println!(
        "  CA file     {}   (the certificate of the pages and of the product port leads to it)",
        scene.ca_file().display()
    );
    println!("  Products    {}", plan.product_url());
    println!("  Data        {}", plan.dir.display());
    println!("  Processes   {}", scene.process_ids());
    let socket = plan.socket(&plan::NODES[0]);
    // As it was called: a fresh build is in nobody's PATH.
    let licraft = std::env::args().next().unwrap_or_else(|| "licraft".to_owned());
    println!("\nTry:");
    println!("  {licraft} --socket {} ha status", socket.display());
    println!("  {licraft} --socket {} license list", socket.display());
    println!("  {licraft} agent status --dir {}", scene.agent_dir(0).display());
    if let Some(pid) = scene.pid(&active) {
        println!("  kill -9 {pid}      # {active} is active: the other node takes over in about a second");
    }
    println!(
        "\nThe demo starts a dead node again after {} s; it comes back as standby. Ctrl-C ends everything.",
        RESTART_AFTER.as_secs()
    );
    Ok(())
}

/// Restarts what dies, until Ctrl-C.
async fn watch(scene: &mut Scene) -> Result<ExitCode> {
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        for name in scene.dead()? {
            println!("{name} is dead; it is started again in {} s.", RESTART_AFTER.as_secs());
            tokio::time::sleep(RESTART_AFTER).await;
            scene.start(&name)?;
            println!("{name} runs again. {}", scene.process_ids());
        }
    }
}
