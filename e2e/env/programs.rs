//! The command lines of a control plane.

use super::assets::Assets;
use super::pki::Pki;
use std::path::Path;
use std::process::Command;

/// One etcd serves all API servers of an environment, each under a prefix of its own.
pub fn etcd(assets: &Assets, data: &Path, client_port: u16, peer_port: u16) -> Command {
    let client = format!("http://127.0.0.1:{client_port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    let mut command = Command::new(&assets.etcd);
    command
        .arg("--data-dir")
        .arg(data)
        .arg(format!("--listen-client-urls={client}"))
        .arg(format!("--advertise-client-urls={client}"))
        .arg(format!("--listen-peer-urls={peer}"))
        .arg(format!("--initial-advertise-peer-urls={peer}"))
        .arg(format!("--initial-cluster=default={peer}"))
        // Test data: a crash of the machine may lose it, and many clusters share one disk.
        .args(["--unsafe-no-fsync", "--quota-backend-bytes=8589934592", "--log-level=warn"]);
    command
}

pub fn kube_apiserver(assets: &Assets, pki: &Pki, cluster: &str, etcd_port: u16, port: u16) -> Command {
    let mut command = Command::new(&assets.kube_apiserver);
    let file = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
    command
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"))
        .arg(format!("--etcd-prefix=/{cluster}"))
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
        .arg(format!("--secure-port={port}"))
        .arg(file("tls-cert-file", &pki.server_cert))
        .arg(file("tls-private-key-file", &pki.server_key))
        .arg(file("client-ca-file", &pki.ca_cert))
        .arg(file("service-account-key-file", &pki.service_account_public))
        .arg(file("service-account-signing-key-file", &pki.service_account_key))
        .args(["--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=RBAC"])
        // A smaller range is full after 250 Services.
        .args(["--service-cluster-ip-range=10.96.0.0/12", "--allow-privileged"])
        // Nobody runs the controller that would take the not-ready taint off the node again.
        .args(["--disable-admission-plugins=TaintNodesByCondition", "--endpoint-reconciler-type=none"]);
    command
}

/// An API server that writes each request down.
pub fn audited(command: &mut Command, policy: &Path, log: &Path) {
    command.arg(format!("--audit-policy-file={}", policy.display()));
    command.arg(format!("--audit-log-path={}", log.display()));
}

/// The real kro; `args` beyond what makes it run here.
pub fn kro(controller: &Path, kubeconfig: &Path, metrics: u16, health: u16, args: &[String]) -> Command {
    let mut command = Command::new(controller);
    command
        .env("KUBECONFIG", kubeconfig)
        .arg(format!("--metrics-bind-address=127.0.0.1:{metrics}"))
        .arg(format!("--health-probe-bind-address=127.0.0.1:{health}"))
        .arg("--pprof-bind-address=")
        .args(args);
    command
}

/// With these of its controllers, as it names them.
pub fn kube_controller_manager(assets: &Assets, pki: &Pki, kubeconfig: &Path, controllers: &str) -> Command {
    let mut command = Command::new(&assets.kube_controller_manager);
    command
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--service-account-private-key-file={}", pki.service_account_key.display()))
        .arg(format!("--root-ca-file={}", pki.ca_cert.display()))
        .args(["--leader-elect=false", "--secure-port=0", "--use-service-account-credentials=false"])
        .arg(format!("--controllers={controllers}"))
        .args(["--kube-api-qps=100", "--kube-api-burst=200"]);
    command
}

pub fn kube_scheduler(assets: &Assets, kubeconfig: &Path) -> Command {
    let mut command = Command::new(&assets.kube_scheduler);
    command
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .args(["--leader-elect=false", "--secure-port=0"]);
    command
}

pub fn kwok(assets: &Assets, kubeconfig: &Path, stages: &Path) -> Command {
    let mut command = Command::new(&assets.kwok);
    command
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--config={}", stages.display()))
        .args(["--manage-all-nodes=true", "--node-lease-duration-seconds=0"]);
    command
}
