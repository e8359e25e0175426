"""Deep belief networks on MNIST: features, generation, classification, codes."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpudl
from gpudl import optim
from gpudl.autograd.tape import no_grad
from gpudl.models.nets.dbn import DBN, pretrain
from gpudl.models.nets.rbm import in_batches
from gpudl.train.build import WarmCosine
from gpudl.zoo.page import Page, page

HIDDEN = (500, 500, 2000)
CODE = 30
SHOWN = 8  # queries shown in the retrieval picture
FOUND = 10  # nearest images per query


@page("Deep belief network", minutes=6, needs=("matplotlib", "sklearn"))
def dbn(page: Page) -> None:
    """Restricted Boltzmann machines trained one on top of the other, each on the features of the
    one below (Hinton, Osindero and Teh, Neural Computation 18, 2006). The net has layers of 500,
    500 and 2000 units; the top machine also has ten class units. As a generative model it draws
    digits of a given class; as a recognition network, fine-tuned by backpropagation, it classifies
    them; a small top layer gives codes."""
    x_train, y_train, x_test, y_test = page.mnist()
    images, labels = _on(page, x_train.reshape(len(x_train), -1)), _on(page, y_train)
    test = _on(page, x_test.reshape(len(x_test), -1))
    net = DBN(784, page.pick(HIDDEN, (40, 30, 60)), device=page.device)
    epochs = page.pick((4, 4, 5), (1, 1, 1))
    pretrain(net, images, labels, _sgd, epochs, chains=100)
    greedy = net.judge(test, _on(page, y_test))["accuracy"].item()
    page.text(
        f"The machines are trained for {epochs[0]}, {epochs[1]} and {epochs[2]} epochs, the lower "
        "ones by CD-1, the top one with the class units and 100 persistent chains. Only the top "
        "machine sees labels, and it is not trained to classify. Its exact p(class | features) "
        f"misclassifies {1 - greedy:.2%} of the test digits."
    )
    drawn = _draw(page, net)
    codes = _train_codes(page, net, images)
    error = _fine_tune(page, net, (x_train, y_train), (x_test, y_test))
    page.table(
        ("784-500-500-2000, test error", "%"),
        [
            ("greedy training, class units of the top machine", 100 * (1 - greedy)),
            ("fine-tuned by backpropagation", 100 * error),
            ("Hinton, Osindero and Teh 2006: up-down algorithm", 1.25),
        ],
    )
    _beside(page, 100 * error)
    page.check("fine-tuned test error at most 1.6 %", error <= 0.016, f"{error:.2%}")
    _judge_drawn(page, net, drawn)
    _compare_codes(page, codes, (images, test), x_test[:, 0], y_test)


def _beside(page: Page, error: float) -> None:
    what, ours = "MNIST test error in %", "(ours: greedy, then backpropagation, few epochs)"
    paper = "Hinton, Osindero and Teh 2006, table 1"
    page.beside(f"{what}, by the up-down algorithm {ours}", 1.25, error, paper)
    paper = "Hinton and Salakhutdinov, Science 313, 2006"
    page.beside(f"{what}, by backpropagation {ours}", 1.2, error, paper)


def _on(page: Page, array: Any) -> Any:
    return gpudl.tensor(array, device=page.device)


def _sgd(groups: Any) -> Any:
    return optim.SGD(groups, lr=0.05, momentum=0.5)


def _draw(page: Page, net: DBN) -> Any:
    """Ten digits of each class, one class per row."""
    steps = page.pick(500, 3)
    labels = gpudl.arange(100, device=page.device) // 10
    drawn = net.generate(labels, steps).cpu().numpy().reshape(-1, 28, 28)
    caption = (
        f"Digits drawn by the net: {steps} Gibbs steps in the top machine from noise, with the "
        "row's class unit clamped, then sampling downwards"
    )
    page.image("generated", page.grid(drawn, vmin=0, vmax=1), caption)
    return drawn


def _judge_drawn(page: Page, net: DBN, drawn: Any) -> None:
    """Whether the fine-tuned net recognises the digits drawn by the generative one."""
    with no_grad():
        read = net(_on(page, drawn)).argmax(1).cpu().numpy()
    right = (read == np.arange(100) // 10).mean()
    page.text(f"The fine-tuned net recognises {right:.0%} of the 100 digits drawn above.")
    page.check("more than 80 % of the drawn digits are recognised", right > 0.8, f"{right:.0%}")


def _fine_tune(page: Page, net: DBN, train: Any, test: Any) -> float:
    """Fine-tune the net by backpropagation; returns the final test error."""
    optimizer = optim.Adam(net.parameters(), lr=1e-3)
    history = page.fit(
        net, train, test,
        epochs=12, batch_size=100, optimizer=optimizer, schedule=WarmCosine,
    )  # fmt: skip
    caption = "Fine-tuning: error after each epoch"
    with page.axes("fine-tuning", caption, size=(4.5, 3)) as axes:
        epochs = [row.epoch for row in history]
        for label, rates in (
            ("training", [row.accuracy for row in history]),
            ("test", [row.test_accuracy for row in history]),
        ):
            axes.plot(epochs, [100 * (1 - rate) for rate in rates], label=label)
        axes.set(xlabel="epoch", ylabel="error in %", ylim=(0, None))
        axes.legend()
    return float(1 - history[-1].test_accuracy)


# ---------------------------------------------------------------------- codes


def _train_codes(page: Page, net: DBN, images: Any) -> DBN:
    """A net without classes, on top of the greedily trained lower layers of the other one."""
    widths = [layer.hidden_features for layer in net.layers]
    codes = DBN(784, (*widths, CODE), 0, device=page.device)
    codes.layers.load_state_dict(net.layers.state_dict())
    epochs = [0] * len(widths) + [page.pick(10, 1)]
    pretrain(codes, images, None, _sgd, epochs)
    return codes


def _compare_codes(page: Page, net: DBN, data: Any, pictures: Any, labels: Any) -> None:
    """Clusters and neighbours of the test images, by codes and by principal components."""
    from sklearn.metrics import normalized_mutual_info_score

    images, test = data
    of_net = in_batches(net, test).cpu().numpy()
    codes = {"deep belief network": of_net, "principal components": _pca(images, test)}
    rows, shown = [], {}
    for name, code in codes.items():
        clusters = _clusters(page, code)
        near = _nearest(code)
        shown[name] = near
        hits = (labels[near] == labels[:, None]).mean()
        nmi = normalized_mutual_info_score(labels, clusters)
        rows.append((name, CODE, nmi, _purity(clusters, labels), hits))
    head = ("code", "width", "NMI", "purity", f"same class among {FOUND} nearest")
    caption = (
        "k-means with 10 clusters, and nearest neighbours among the test images; no labels used"
    )
    page.table(head, rows, caption)
    ours, pca = rows
    nearer = max(rows, key=lambda row: row[4])[0]
    page.text(f"More neighbours have the same class with {nearer}.")
    measured = f"NMI {ours[2]:.3f} and {pca[2]:.3f}"
    page.check("codes cluster better than principal components", ours[2] > pca[2], measured)
    order = [np.flatnonzero(labels == digit)[:1] for digit in range(SHOWN)]
    queries = np.concatenate(order)
    near = shown["deep belief network"][queries]
    tiles = np.concatenate([queries[:, None], near], 1).ravel()
    caption = f"Retrieval: a test image and the {FOUND} others with the nearest codes"
    page.image("retrieval", page.grid(pictures[tiles], FOUND + 1, vmin=0, vmax=1), caption)


def _pca(images: Any, test: Any) -> Any:
    """The test images in the largest principal components of the training images."""
    x, y = images.cpu().numpy().astype(float), test.cpu().numpy()
    mean = x.mean(0)
    values, vectors = np.linalg.eigh((x - mean).T @ (x - mean))
    return (y - mean) @ vectors[:, np.argsort(-values)[:CODE]]


def _clusters(page: Page, code: Any) -> Any:
    from sklearn.cluster import KMeans

    return KMeans(10, n_init=page.pick(10, 1), random_state=page.seed).fit(code).labels_


def _purity(clusters: Any, labels: Any) -> float:
    """The share of images whose class is the most frequent in their cluster."""
    counts = np.zeros((clusters.max() + 1, labels.max() + 1), int)
    np.add.at(counts, (clusters, labels), 1)
    return float(counts.max(1).sum() / len(labels))


def _nearest(code: Any) -> Any:
    """(N, FOUND) nearest other images by Euclidean distance, nearest first."""
    squares = (code**2).sum(1)
    found = []
    for start in range(0, len(code), 1000):
        part = code[start : start + 1000]
        distance = squares - 2 * part @ code.T  # without the part's own squares, constant per row
        distance[np.arange(len(part)), np.arange(start, start + len(part))] = np.inf
        some = np.argpartition(distance, FOUND, 1)[:, :FOUND]
        by = np.take_along_axis(distance, some, 1).argsort(1, kind="stable")
        found.append(np.take_along_axis(some, by, 1))
    return np.concatenate(found)
