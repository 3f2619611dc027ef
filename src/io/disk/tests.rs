use super::*;
use std::path::Path;

fn written(disk: &SimDisk, bytes: &[u8]) -> Arc<dyn DiskFile> {
    let file = disk.create(Path::new("d/f"), 2048).unwrap();
    disk.sync_dir(Path::new("d")).unwrap();
    file.write_at(0, bytes).unwrap();
    file
}

#[test]
fn a_crash_keeps_what_was_synced_and_any_part_of_the_rest() {
    let (mut whole, mut none, mut part) = (0, 0, 0);
    for seed in 0..60 {
        let disk = SimDisk::new(seed);
        let file = written(&disk, &[1; 1024]);
        file.sync_data().unwrap();
        file.write_at(0, &[2; 1024]).unwrap();
        let bytes = disk.reboot(seed).bytes(Path::new("d/f")).unwrap();
        match (&bytes[..512], &bytes[512..1024]) {
            (a, b) if a == [2; 512] && b == [2; 512] => whole += 1,
            (a, b) if a == [1; 512] && b == [1; 512] => none += 1,
            (a, b) => {
                assert!((a == [1; 512] || a == [2; 512]) && (b == [1; 512] || b == [2; 512]));
                part += 1;
            }
        }
    }
    assert!(whole > 5 && none > 5 && part > 2, "{whole} {none} {part}");
}

#[test]
fn a_failed_sync_loses_the_pages_and_the_next_one_lies() {
    let lost = (0..20).any(|seed| {
        let disk = SimDisk::new(seed);
        let file = written(&disk, &[7; 1024]);
        disk.plan(Fault::FailSync(1));
        assert!(file.sync_data().is_err());
        file.sync_data().unwrap();
        assert_eq!(disk.bytes(Path::new("d/f")).unwrap()[0], 7, "it still reads back");
        disk.reboot(seed).bytes(Path::new("d/f")).unwrap()[..1024] != [7; 1024]
    });
    assert!(lost);
}

#[test]
fn names_survive_as_a_prefix_and_surely_once_synced() {
    let outcomes: std::collections::BTreeSet<Vec<String>> = (0..30)
        .map(|seed| {
            let disk = SimDisk::new(seed);
            disk.create(Path::new("d/a"), 0).unwrap();
            disk.sync_dir(Path::new("d")).unwrap();
            disk.rename(Path::new("d/a"), Path::new("d/b")).unwrap();
            disk.create(Path::new("d/c"), 0).unwrap();
            disk.reboot(seed).list(Path::new("d")).unwrap()
        })
        .collect();
    let possible = [vec!["a"], vec!["b"], vec!["b", "c"]];
    assert_eq!(outcomes.len(), 3);
    assert!(outcomes.iter().all(|names| possible.iter().any(|p| p == names)), "{outcomes:?}");
}

#[test]
fn planned_faults_come_when_due() {
    let disk = SimDisk::new(1);
    let file = written(&disk, &[1]);
    disk.plan(Fault::Capacity(3000));
    assert!(disk.create(Path::new("d/g"), 1000).unwrap_err().is_full());
    assert_eq!(disk.free_space(Path::new("d")).unwrap(), 952);
    disk.plan(Fault::ReadOnly);
    assert!(file.write_at(0, &[2]).unwrap_err().is_read_only());
    disk.heal();
    disk.plan(Fault::LoseWrite(2));
    file.write_at(0, &[3]).unwrap();
    file.write_at(1, &[4]).unwrap();
    file.sync_data().unwrap();
    assert_eq!(disk.reboot(0).bytes(Path::new("d/f")).unwrap()[..2], [3, 0]);
    disk.plan(Fault::CrashAt(disk.calls() + 2));
    file.write_at(0, &[5]).unwrap();
    assert!(file.write_at(0, &[6]).is_err() && file.sync_data().is_err() && disk.crashed());
    assert_eq!(disk.after_kill().bytes(Path::new("d/f")).unwrap()[0], 5);
}

#[test]
fn the_real_lock_names_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("data");
    let held = RealDisk.lock(&inner).unwrap();
    let refused = RealDisk.lock(&inner).unwrap_err();
    assert!(matches!(refused, DiskError::Locked { pid: Some(pid), .. } if pid == std::process::id()), "{refused}");
    assert!(refused.to_string().contains(&format!("process {}", std::process::id())));
    drop(held);
    RealDisk.lock(&inner).unwrap();
}

#[test]
fn the_real_disk_reads_back_what_it_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let file = RealDisk.create(&path, 4096).unwrap();
    assert_eq!(file.size().unwrap(), 4096);
    file.write_at(4000, &[9; 200]).unwrap();
    file.sync_data().unwrap();
    RealDisk.sync_dir(dir.path()).unwrap();
    let mut bytes = [1; 300];
    assert_eq!(RealDisk.open_read(&path).unwrap().read_at(3990, &mut bytes).unwrap(), 210);
    assert_eq!((bytes[9], bytes[10], bytes[209]), (0, 9, 9));
    assert!(RealDisk.create(&path, 0).is_err() && RealDisk.open(&dir.path().join("none")).unwrap_err().is_missing());
    assert_eq!(RealDisk.list(dir.path()).unwrap(), ["f"]);
    assert!(RealDisk.free_space(dir.path()).unwrap() > 0);
}
