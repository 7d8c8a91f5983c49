"""The Kubernetes files hang together: names, numbers of processes, exit codes, volumes."""

import pytest
import yaml

from tests.cluster.stubs import SCRIPTS


def load(name):
    return yaml.safe_load((SCRIPTS / name).read_text("utf-8"))


@pytest.fixture
def jobset():
    return load("kubernetes_train.yaml")


@pytest.fixture
def job(jobset):
    (replicated,) = jobset["spec"]["replicatedJobs"]
    assert replicated["replicas"] == 1
    return replicated["template"]["spec"]


@pytest.fixture(params=["prepare", "train"])
def any_job(request, job):
    return job if request.param == "train" else load("kubernetes_prepare.yaml")["spec"]


def test_what_they_are(jobset):
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    prepare = load("kubernetes_prepare.yaml")
    assert (prepare["apiVersion"], prepare["kind"]) == ("batch/v1", "Job")


def test_the_pods_find_each_other(jobset, job):
    (container,) = job["template"]["spec"]["containers"]
    environment = {entry["name"]: entry for entry in container["env"]}
    name, (replicated,) = jobset["metadata"]["name"], jobset["spec"]["replicatedJobs"]
    host, port = environment["JAX_COORDINATOR_ADDRESS"]["value"].split(":")
    # JobSet's name of the first pod: <jobset>-<replicated job>-<its index>-<pod's index>.<headless service>
    assert host == f"{name}-{replicated['name']}-0-0.{name}"
    assert int(port) in [entry["containerPort"] for entry in container["ports"]]
    assert jobset["spec"]["network"] == {"enableDNSHostnames": True, "publishNotReadyAddresses": True}
    assert job["completionMode"] == "Indexed"
    index = environment["JAX_PROCESS_ID"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert index == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    assert int(environment["JAX_NUM_PROCESSES"]["value"]) == job["parallelism"] == job["completions"]


def test_a_node_has_one_pod(jobset, job):
    (rule,) = job["template"]["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rule["labelSelector"]["matchLabels"] == {"jobset.sigs.k8s.io/jobset-name": jobset["metadata"]["name"]}


def test_exit_codes(any_job):
    pod = any_job["template"]["spec"]
    (container,) = pod["containers"]
    actions = {}
    for rule in any_job["podFailurePolicy"]["rules"]:
        if codes := rule.get("onExitCodes"):
            assert codes["containerName"] == container["name"]
            assert codes["operator"] == "In"
            actions |= dict.fromkeys(codes["values"], rule["action"])
        else:
            assert rule["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
            assert rule["action"] == "Ignore"
    assert actions == {2: "FailJob", 75: "Ignore"}
    assert pod["restartPolicy"] == "Never"  # a podFailurePolicy asks for it
    assert pod["terminationGracePeriodSeconds"] >= 60


def test_bad_input_ends_the_set_and_a_killed_pod_starts_it_anew(jobset, job):
    policy = jobset["spec"]["failurePolicy"]
    assert [(rule["action"], rule["onJobFailureReasons"]) for rule in policy["rules"]] == [
        ("FailJobSet", ["PodFailurePolicy"])
    ]
    assert policy["maxRestarts"] > 0
    assert job["backoffLimit"] == 0


def test_folders_are_on_mounted_volumes(any_job):
    pod = any_job["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    paths = [argument.partition("=")[2] for argument in container["args"]]
    assert all(path.startswith(mounts["shared"]) for path in paths if path.startswith("/"))
