//! stub
pub mod compat {
    use serde_json::Value;
    pub struct Changes {
        pub breaking: Vec<String>,
        pub compatible: Vec<String>,
    }
    impl Changes {
        pub fn is_empty(&self) -> bool {
            self.breaking.is_empty() && self.compatible.is_empty()
        }
    }
    pub fn compare(_: &Value, _: &Value) -> Changes {
        Changes { breaking: vec![], compatible: vec![] }
    }
    pub fn refusal(_: &str, _: &Changes) -> Option<String> {
        None
    }
}
pub mod crd {
    pub fn for_hub(c: &Value, _: bool) -> Value {
        c.clone()
    }
    use crate::api::HubId;
    use serde_json::Value;
    pub fn for_spoke(c: &Value, _: &HubId) -> Value {
        c.clone()
    }
}
pub mod plural {
    pub fn of(k: &str) -> String {
        format!("{k}s")
    }
}
