"""Which flights will be late: gradient boosting on recent delays, the weather and the schedule."""

from lightgbm import LGBMClassifier


def train(dataset, context):
    model = LGBMClassifier(
        n_estimators=200,
        learning_rate=0.05,
        num_leaves=31,
        min_child_samples=100,
        colsample_bytree=0.7,
        subsample=0.8,
        subsample_freq=1,
        random_state=context.random_seed,
        n_jobs=1,
        verbose=-1,
    )
    context.log(f"learning from {len(dataset.y)} flights, {dataset.y.mean():.1%} of them late")
    return model.fit(dataset.X, dataset.y)
