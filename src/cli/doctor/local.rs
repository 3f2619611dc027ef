//! What is on this machine: the file, directories, ports.

use super::{Config, Finding, said};
use qcat_io::resources;
use std::net::{TcpListener, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The file was read; who else can read it.
pub(super) fn configuration(file: &Path, config: &Config) -> Vec<Finding> {
    let shown = file.display();
    let (accounts, strategies) = (config.accounts.len(), config.strategies.len());
    let found = said(
        format!("{shown}: valid, {accounts} accounts, {strategies} strategies"),
        format!("{shown}：有效，{accounts} 个账户，{strategies} 个策略"),
    );
    let mut findings = vec![Finding::ok("config", found)];
    let mode = std::fs::metadata(file).map_or(0, |data| data.mode());
    if mode & 0o006 != 0 {
        findings.push(Finding::warn(
            "config",
            said(
                format!("{shown} is open to every user ({:o})", mode & 0o777),
                format!("{shown} 对所有用户开放（{:o}）", mode & 0o777),
            ),
            said(format!("it may hold secrets: chmod o-rw {shown}"), format!("其中可能有密钥：chmod o-rw {shown}")),
        ));
    }
    findings
}

/// Every directory that is written to or read from.
pub(super) fn directories(config: &Config) -> Vec<Finding> {
    let segments = 2 * config.journal.segment_size;
    let mut findings = directory("journal.dir", &config.journal.dir, (segments, segments + GIB));
    if config.logging.to_files {
        findings.extend(directory("logging", &config.logging.dir, (50 * MIB, GIB)));
    }
    if config.database.kind == crate::config::model::DatabaseKind::Sqlite
        && let Some(dir) = config.database.path.parent().filter(|dir| !dir.as_os_str().is_empty())
    {
        findings.extend(directory("database.path", dir, (100 * MIB, GIB)));
    }
    let data = &config.optimizer.data_dir;
    if !data.is_dir() {
        let shown = data.display();
        findings.push(Finding::warn(
            "optimizer.data_dir",
            said(format!("{shown} does not exist"), format!("{shown} 不存在")),
            said(
                "searches can use generated data only; make it and put recordings there",
                "参数搜索只能使用生成的数据；请创建并放入行情记录",
            ),
        ));
    }
    findings
}

/// A directory that is written to. `space`: below the first it fails, below the second it is short.
fn directory(key: &str, dir: &Path, space: (u64, u64)) -> Vec<Finding> {
    let shown = dir.display();
    if !dir.exists() {
        let there = dir.ancestors().find(|above| above.is_dir());
        return vec![match there.map(|above| (above, tempfile::NamedTempFile::new_in(above))) {
            Some((_, Ok(_))) => Finding::ok(
                key,
                said(
                    format!("{shown} does not exist yet: it is made at the start"),
                    format!("{shown} 尚不存在，启动时创建"),
                ),
            ),
            Some((above, Err(error))) => Finding::fail(
                key,
                said(
                    format!("{shown} does not exist and cannot be made in {}: {error}", above.display()),
                    format!("{shown} 不存在，且无法在 {} 中创建：{error}", above.display()),
                ),
                said(
                    format!("as root: install -d -m 750 -o USER -g GROUP {shown} (the service's user)"),
                    format!("以 root 执行：install -d -m 750 -o 用户 -g 组 {shown}（服务所用的用户）"),
                ),
            ),
            None => Finding::fail(
                key,
                said(format!("{shown} has no place"), format!("{shown} 的上级目录不存在")),
                said("give an absolute path", "请给出绝对路径"),
            ),
        }];
    }
    if let Err(error) = tempfile::NamedTempFile::new_in(dir) {
        let owner =
            std::fs::metadata(dir).map_or("?".to_owned(), |data| format!("{} ({:o})", data.uid(), data.mode() & 0o777));
        return vec![Finding::fail(
            key,
            said(
                format!("{shown} cannot be written to: {error}; its owner is user {owner}"),
                format!("{shown} 无法写入：{error}；所有者为用户 {owner}"),
            ),
            said(
                "run this as the service's user; if it is, chown the directory to it, or mount it for writing",
                "请以服务用户运行本命令；若已是，请把目录 chown 给它，或以可写方式挂载",
            ),
        )];
    }
    let mut findings = vec![space_of(key, dir, space)];
    let Ok(data) = std::fs::metadata(dir) else { return findings };
    let own = std::fs::metadata("/proc/self").map(|process| process.uid());
    if data.mode() & 0o002 != 0 {
        findings.push(Finding::warn(
            key,
            said(format!("{shown} can be changed by every user"), format!("{shown} 任何用户都可修改")),
            said(format!("chmod o-w {shown}"), format!("chmod o-w {shown}")),
        ));
    }
    if own.is_ok_and(|own| own != data.uid()) {
        findings.push(Finding::warn(
            key,
            said(
                format!("{shown} belongs to user {}, not to who runs this", data.uid()),
                format!("{shown} 属于用户 {}，与当前用户不同", data.uid()),
            ),
            said("run this as the service's user to know that it can write there", "请以服务用户运行，以确认其可写"),
        ));
    }
    findings
}

fn space_of(key: &str, dir: &Path, (least, short): (u64, u64)) -> Finding {
    let shown = dir.display();
    let space = match resources::disk_space(dir) {
        Ok(space) => space,
        Err(error) => {
            return Finding::warn(
                key,
                said(format!("its space is not known: {error}"), format!("剩余空间未知：{error}")),
                said("look at it with df", "请用 df 查看"),
            );
        }
    };
    let (left, least_mib) = (space.available / MIB, least / MIB);
    let found = said(format!("{shown}: {left} MiB left"), format!("{shown}：剩余 {left} MiB"));
    let mend = said(
        format!("make room: at least {least_mib} MiB are needed, {} MiB are better", short / MIB),
        format!("请清理空间：至少需要 {least_mib} MiB，建议 {} MiB", short / MIB),
    );
    match space.available {
        available if available < least => Finding::fail(key, found, mend),
        available if available < short => Finding::warn(key, found, mend),
        _ => Finding::ok(key, found),
    }
}

/// Every port that is listened on.
pub(super) fn ports(config: &Config) -> Vec<Finding> {
    let mut findings = vec![port("server.port", &config.server.host, config.server.port)];
    if config.monitoring.enabled {
        findings.push(port("monitoring.prometheus_port", &config.monitoring.host, config.monitoring.port));
    }
    findings
}

fn port(key: &str, host: &str, port: u16) -> Finding {
    let address = format!("{host}:{port}");
    let unusable = |error: std::io::Error| {
        Finding::fail(
            key,
            said(format!("{address} cannot be listened on: {error}"), format!("无法监听 {address}：{error}")),
            said(
                "give an address of this machine and a port that its user may use (1024 and above)",
                "请使用本机地址，以及该用户可用的端口（1024 以上）",
            ),
        )
    };
    let addresses = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses.collect::<Vec<_>>(),
        Err(error) => return unusable(error),
    };
    match TcpListener::bind(&addresses[..]) {
        Ok(_) if port == 0 => Finding::ok(key, said("a free port is taken at the start", "启动时使用空闲端口")),
        Ok(_) => Finding::ok(key, said(format!("{address} is free"), format!("{address} 空闲"))),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => match holder(port) {
            Some((pid, name)) if name == "qcat" => Finding::warn(
                key,
                said(
                    format!("{address} is held by a qcat that runs (process {pid})"),
                    format!("{address} 已由运行中的 qcat 占用（进程 {pid}）"),
                ),
                said(
                    "fine if it is this installation; a second one needs another port",
                    "若为本实例则正常；第二个实例须用其他端口",
                ),
            ),
            holder => {
                let (en, zh) = holder.map_or_else(
                    || {
                        (
                            "another user's process (root sees which: ss -ltnp)".to_owned(),
                            "其他用户的进程（root 可用 ss -ltnp 查看）".to_owned(),
                        )
                    },
                    |(pid, name)| (format!("`{name}` (process {pid})"), format!("`{name}`（进程 {pid}）")),
                );
                Finding::fail(
                    key,
                    said(format!("{address} is held by {en}"), format!("{address} 被{zh}占用")),
                    said(format!("stop it, or set another {key}"), format!("请停止它，或修改 {key}")),
                )
            }
        },
        Err(error) => unusable(error),
    }
}

/// Who listens on a port: process number and name, if this user may see it.
fn holder(port: u16) -> Option<(u32, String)> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let inode = tables.iter().flat_map(|table| table.lines().skip(1)).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        // 0A: it listens.
        (u16::from_str_radix(local, 16).ok()? == port && *fields.get(3)? == "0A").then(|| fields.get(9).copied())?
    })?;
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = numbers.find(|pid| {
        let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()))
    })?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, name.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn levels(findings: &[Finding]) -> Vec<Level> {
        findings.iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn a_port_that_is_held_is_told_with_its_holder() {
        let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let number = held.local_addr().expect("bound").port();
        let finding = port("server.port", "127.0.0.1", number);
        let own = std::fs::read_to_string("/proc/self/comm").expect("a name");
        assert_eq!(finding.level, Level::Fail);
        let expected = format!("127.0.0.1:{number} is held by `{}` (process {})", own.trim(), std::process::id());
        assert_eq!(finding.found.en, expected);
        drop(held);
        assert_eq!(port("server.port", "127.0.0.1", number).level, Level::Ok);
        assert_eq!(port("server.port", "192.0.2.1", 8082).level, Level::Fail, "not of this machine");
    }

    #[test]
    fn a_directory_is_made_written_to_or_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let plenty = (1, 2);
        assert_eq!(levels(&directory("journal.dir", folder.path(), plenty)), [Level::Ok]);
        assert_eq!(levels(&directory("journal.dir", &folder.path().join("a/b"), plenty)), [Level::Ok]);
        assert!(!folder.path().join("a").exists(), "nothing is made");
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 0, "nothing is left behind");
        assert_eq!(levels(&directory("journal.dir", folder.path(), (u64::MAX, u64::MAX))), [Level::Fail]);
        assert_eq!(levels(&directory("journal.dir", folder.path(), (1, u64::MAX))), [Level::Warn]);
        // Nobody, not even root, writes here.
        assert_eq!(levels(&directory("journal.dir", Path::new("/proc/self"), plenty)), [Level::Fail]);
        assert_eq!(levels(&directory("journal.dir", Path::new("/proc/self/none"), plenty)), [Level::Fail]);
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("written");
        assert_eq!(levels(&directory("journal.dir", &file, plenty)), [Level::Fail]);
        let mut open = std::fs::metadata(folder.path()).expect("there").permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut open, 0o777);
        std::fs::set_permissions(folder.path(), open).expect("set");
        assert_eq!(levels(&directory("journal.dir", folder.path(), plenty)), [Level::Ok, Level::Warn]);
    }
}
