//! A small disk of its own for a child process: a tmpfs in a mount namespace, as no privilege is needed where user namespaces are
//! allowed. What is done to it shows in `inside`, and nobody else sees it.

#![allow(dead_code)] // Each test uses a part of it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The namespace; dropping it gives the disk back.
pub struct Mount {
    keeper: Child,
    at: PathBuf,
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

impl Mount {
    /// Mounts an empty disk of this size (`24m`) at a directory, for those who enter. `None`: not permitted here.
    pub fn new(at: &Path, size: &str) -> Option<Mount> {
        let script = "mount -t tmpfs -o size=$1 none \"$2\" && echo mounted && exec sleep 3600";
        let keeper = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", script, "sh", size])
            .arg(at)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut keeper) = keeper else { return skipped() };
        let mut line = String::new();
        let out = keeper.stdout.take().expect("a pipe");
        let mounted = BufReader::new(out).read_line(&mut line).is_ok() && line.trim() == "mounted";
        let mount = Mount { keeper, at: at.to_owned() };
        if mounted { Some(mount) } else { skipped() }
    }

    /// Makes the disk read-only.
    pub fn make_read_only(&self) {
        let mut remount = self.enter("mount");
        let done = remount.args(["-o", "remount,ro"]).arg(&self.at).status();
        assert!(done.expect("mount runs").success());
    }

    /// A command that sees the disk.
    pub fn enter(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.keeper.id().to_string(), "--user", "--mount", "--preserve-credentials", "--"]);
        command.arg(program);
        command
    }

    /// A path of the disk, as seen from outside.
    pub fn inside(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(path.strip_prefix("/").expect("an absolute path"))
    }

    /// Fills the disk to the last byte.
    pub fn fill(&self) {
        let file = self.inside(&self.at.join("filler"));
        let step = vec![7; 4096];
        let mut file = std::fs::File::create(file).expect("created");
        while std::io::Write::write_all(&mut file, &step).is_ok() {}
    }

    /// Gives the filled space back.
    pub fn free(&self) {
        std::fs::remove_file(self.inside(&self.at.join("filler"))).expect("removed");
    }
}

fn skipped() -> Option<Mount> {
    eprintln!(
        "SKIPPED: no mount namespace is permitted here (unshare --map-root-user --mount), so no disk can be filled"
    );
    None
}
