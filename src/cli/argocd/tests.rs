//! What is printed, read as Argo CD reads it.

use super::*;
use serde_json::Value;

fn read(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn customizations(kinds: &[(&str, &str)]) -> Value {
    let kinds = kinds.iter().map(|(group, kind)| GroupKind::new(group, kind)).collect();
    let map = read(&config_map(&kinds, "argocd"));
    assert_eq!(map["metadata"]["name"], "argocd-cm");
    let exclusions = read(map["data"]["resource.exclusions"].as_str().unwrap());
    assert_eq!(exclusions[0]["kinds"][0], "GraphRevision");
    read(map["data"]["resource.customizations"].as_str().unwrap())
}

fn names(entry: &Value) -> Vec<String> {
    let actions = read(entry["actions"].as_str().unwrap());
    assert!(actions["discovery.lua"].as_str().unwrap().ends_with("return actions\n"));
    let all = actions["definitions"].as_array().unwrap();
    for action in all {
        assert!(action["action.lua"].as_str().unwrap().ends_with("return obj\n"), "{action}");
    }
    all.iter().map(|action| action["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_kind_has_health_and_actions() {
    let all = customizations(&[("kro.run", "Website"), ("kro.run", "App"), ("shop.io", "Cart")]);
    let health = all["kro.run/*"]["health.lua"].as_str().unwrap();
    assert!(health.contains("NotPlaced") && health.ends_with("return hs\n"));
    for key in ["kro.run/Website", "kro.run/App", "shop.io/Cart"] {
        let entry = &all[key];
        assert_eq!(entry["health.lua"], health, "{key}");
        assert_eq!(names(entry), ["suspend", "resume", "release-unreachable", "allow-shrink"], "{key}");
    }
    assert_eq!(all["shop.io/*"]["health.lua"], health);
    assert_eq!(names(&all["hub.kro.run/Cluster"]), ["pause", "resume"]);
    assert!(all["hub.kro.run/Cluster"]["health.lua"].is_string());
    assert!(all["hub.kro.run/ClusterPlacement"]["health.lua"].is_string());
}

#[test]
fn scripts_use_no_library_that_argo_cd_does_not_open() {
    let scripts = ACTIONS.iter().chain(&CLUSTER_ACTIONS).map(|action| action.script);
    for script in scripts.chain([DISCOVERY, CLUSTER_DISCOVERY]) {
        for library in
            ["string.", "math.", "io.", "os.", "debug.", "coroutine.", ":sub(", ":gsub(", ":match("]
        {
            assert!(!script.contains(library), "{library} in\n{script}");
        }
    }
}
