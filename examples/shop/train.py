"""Who is about to leave: gradient boosting on what customers did lately."""

from lightgbm import LGBMClassifier


def train(dataset, context):
    model = LGBMClassifier(
        n_estimators=80,
        learning_rate=0.06,
        num_leaves=15,
        min_child_samples=40,
        random_state=context.random_seed,
        n_jobs=1,
        verbose=-1,
    )
    context.log(f"learning from {len(dataset.y)} rows, {dataset.y.mean():.1%} of them churned")
    return model.fit(dataset.X, dataset.y)
