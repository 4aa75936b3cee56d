//! The shape of the house: what every crate must inherit, who may know whom, and how long a file may be.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};
use toml::Table;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn manifest(path: &Path) -> Table {
    fs::read_to_string(path.join("Cargo.toml")).unwrap().parse().unwrap()
}

fn members() -> Vec<String> {
    let workspace = manifest(&root());
    workspace["workspace"]["members"].as_array().unwrap().iter().map(|each| each.as_str().unwrap().to_owned()).collect()
}

/// Rust files that people write.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("gen") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_crate_inherits_lints_and_versions() {
    for member in members() {
        let manifest = manifest(&root().join(&member));
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{member} must inherit the workspace's lints");
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(section) = manifest.get(section) else { continue };
            for (name, value) in section.as_table().unwrap() {
                assert!(value.get("workspace").is_some(), "{member}: the version of {name} belongs in the workspace");
            }
        }
    }
}

#[test]
fn every_dependency_is_used() {
    for member in members() {
        let (folder, mut found, mut text) = (root().join(&member), Vec::new(), String::new());
        sources(&folder, &mut found);
        let generated = folder.join("src/gen");
        if generated.exists() {
            found.extend(fs::read_dir(generated).unwrap().map(|entry| entry.unwrap().path()));
        }
        for path in found {
            text += &String::from_utf8_lossy(&fs::read(path).unwrap());
        }
        let words: BTreeSet<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let manifest = manifest(&folder);
        for section in ["dependencies", "dev-dependencies"] {
            let Some(section) = manifest.get(section) else { continue };
            for name in section.as_table().unwrap().keys() {
                assert!(words.contains(&*name.replace('-', "_")), "{member} does not use {name}");
            }
        }
    }
}

/// Who builds on whom. A service knows no other: it calls their contract.
#[test]
fn crates_know_only_those_below_them() {
    let services = ["gateway", "api", "chat-svc", "store-svc", "group-svc", "account-svc", "notify-svc"];
    let mut names = BTreeMap::new();
    for member in members() {
        names.insert(manifest(&root().join(&member))["package"]["name"].as_str().unwrap().to_owned(), member);
    }
    for (package, member) in &names {
        let allowed: &[&str] = match member.as_str() {
            "proto" => &[],
            "mesh" | "client" => &["proto"],
            service if services.contains(&service) => &["proto", "mesh"],
            "loadgen" => &["proto", "client"],
            "solo" | "tests" | "fuzz" => continue,
            other => panic!("{other} has no place in this list"),
        };
        let manifest = manifest(&root().join(member));
        let Some(dependencies) = manifest.get("dependencies") else { continue };
        for name in dependencies.as_table().unwrap().keys() {
            let Some(known) = names.get(name) else { continue };
            assert!(allowed.contains(&known.as_str()), "{package} must not know {name}: {allowed:?} are below it");
        }
    }
}

#[test]
fn files_are_short_and_begin_with_what_they_are() {
    for member in members() {
        let mut found = Vec::new();
        sources(&root().join(&member), &mut found);
        for path in found {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.lines().count() <= 500, "{} has over 500 lines", path.display());
            assert!(text.starts_with("//!"), "{} does not say what it is", path.display());
            assert!(!path.ends_with("mod.rs"), "{}: NAME.rs beside NAME/, never mod.rs", path.display());
        }
    }
}

#[test]
fn decisions_are_in_the_index() {
    let folder = root().join("docs/adr");
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "README.md" || index.contains(&name), "{name} is not in docs/adr/README.md");
    }
}

/// Services may share a database, and diesel knows migrations by their number alone: of two with one number it leaves
/// one out.
#[test]
fn migrations_of_all_services_have_numbers_of_their_own() {
    let mut numbers = BTreeMap::new();
    for member in members() {
        let Ok(entries) = fs::read_dir(root().join(&member).join("migrations")) else { continue };
        for entry in entries {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let number = name.split('_').next().unwrap().to_owned();
            let path = format!("{member}/migrations/{name}");
            assert_eq!(numbers.insert(number, path.clone()), None, "{path} has the number of another");
        }
    }
    assert!(numbers.len() >= 3);
}
