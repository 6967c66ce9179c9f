//! Asking API servers what somebody may do there.

use super::{Connection, Failure};
use crate::access::{Account, Question};
use futures::{StreamExt, TryStreamExt, stream};
use kube::core::ApiResource;
use serde_json::{Value, json};

/// Questions under way at once.
const AT_ONCE: usize = 32;

fn reviews(kind: &str) -> ApiResource {
    ApiResource {
        group: "authorization.k8s.io".into(),
        version: "v1".into(),
        api_version: "authorization.k8s.io/v1".into(),
        kind: kind.into(),
        plural: format!("{}s", kind.to_lowercase()),
    }
}

impl Connection {
    /// The questions whose answer is no, for this account; without one, for the person.
    ///
    /// # Errors
    /// The cluster cannot be asked.
    pub async fn denied(
        &self,
        questions: &[Question],
        account: Option<&Account>,
    ) -> Result<Vec<Question>, Failure> {
        let ask = |question: &Question| {
            let (review, question) = (question.review(account), question.clone());
            async move {
                let kind = review.get("kind").and_then(Value::as_str).unwrap_or_default();
                let (resource, what) = (reviews(kind), format!("create {}s", kind.to_lowercase()));
                let answer = self.within(&what, self.verbs().create(&resource, "", &review)).await?;
                let allowed = answer.pointer("/status/allowed") == Some(&json!(true));
                Ok(Some(question).filter(|_| !allowed))
            }
        };
        let asked: Vec<_> = questions.iter().map(ask).collect();
        let answers: Vec<Option<Question>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        Ok(answers.into_iter().flatten().collect())
    }
}
