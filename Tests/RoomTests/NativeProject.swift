import Core
import Foundation
import Logging
import NativeModelsBackend
import Serving
import TestKit
import Testing
import Workers

/// Real models of every kind, trained in a real worker, and an engine that scores them natively.
struct NativeProject: Sendable {
  /// 10,000 to train on, and 2,000 that training does not see, with values it never saw.
  static let rows = 12_000
  static let trainingRows = 10_000
  /// Rows whose contributions the training function tells, computed by the library.
  static let explained = 5

  struct Trained: Sendable {
    var artifact: String
    var native: String
    var rows: ColumnBatch
    var predictions: [Double]
    var metrics: [String: Double]
  }

  let pool: WorkerPool
  let directory: String
  let host = FakeHost()
  let engine: NativeEngine

  static func with(_ body: (NativeProject) async throws -> Void) async throws {
    try await PythonWorkers.withPool { pool, project in
      try code.write(
        toFile: "\(project.directory)/native.py", atomically: true, encoding: .utf8)
      try await body(NativeProject(pool: pool, directory: project.directory))
    }
  }

  static func libraries(
    lightGBM: String? = nil, python: String? = PythonWorkers.python
  ) -> [String: any NativeLibrary] {
    [
      "lightgbm": LightGBMLibrary(.lightGBM(path: lightGBM, python: python ?? "python3")),
      "xgboost": XGBoostLibrary(.xgboost(path: nil, python: python ?? "python3")),
    ]
  }

  private init(pool: WorkerPool, directory: String) {
    self.pool = pool
    self.directory = directory
    engine = NativeEngine(
      libraries: Self.libraries(), workers: FakeEngine(host: host), host: host)
  }

  /// Trains the kind of model that the project's function makes for it.
  ///
  /// - Parameter offset: added to the label.
  func train(_ kind: String, offset: Int = 0) async throws -> Trained {
    let rows = Self.dataset(kind, seed: 20_261_121)
    let output = "\(directory)/\(kind)-\(offset)"
    let dataset = "\(directory)/\(kind)-\(offset).columns"
    var file = try DatasetFile(creatingAt: dataset)
    try file.append(rows)
    try file.close()
    let features = rows.columns.map(\.name).filter { $0 != "y" && $0 != "event_timestamp" }
    let result = try await pool.run(
      .train(
        TrainingTask(
          runPath: "native.py", function: "native.py:train", workingDirectory: directory,
          datasetPath: dataset, features: features, label: "y",
          options: "{\"kind\": \"\(kind)\", \"offset\": \(offset)}", outputDirectory: output,
          evaluationFrom: Self.trainingRows)), timeout: .seconds(180))
    guard case .trained(let model) = result.payload else {
      throw PlatformError(.internalError, "not trained")
    }
    return Trained(
      artifact: model.artifactPath, native: "\(output)/model.native",
      rows: ColumnBatch(columns: features.compactMap { rows[$0] }, count: rows.count),
      predictions: model.trainingPredictions + model.evaluationPredictions, metrics: model.metrics)
  }

  func load(_ trained: Trained, version: Int64 = 1) async throws -> ModelKey {
    let key = ModelKey(model: "native", version: version)
    var artifact = ModelArtifact(
      key: key, path: trained.artifact, sha256: "", format: "pickle",
      features: trained.rows.columns.map(\.name))
    artifact.nativePath = trained.native
    try await engine.ensureLoaded(artifact, workers: 1)
    try #require(engine.isLoaded(key))
    return key
  }

  /// Numbers of several sizes, an integer and a truth, two kinds of categories; nulls where the model takes them.
  private static func dataset(_ kind: String, seed: UInt64) -> ColumnBatch {
    var random = SeededGenerator(seed: seed)
    let isTree = kind.hasPrefix("lightgbm") || kind.hasPrefix("xgboost")
    func isNull() -> Bool { isTree && Int.random(in: 0..<10, using: &random) == 0 }
    var columns: [Column] = []
    for (name, scale) in [("a", 1.0), ("b", 100.0), ("c", 0.01)] {
      let cells = (0..<rows).map { row -> Value in
        if isNull() { return .null }
        let far = row >= trainingRows && row % 50 == 0 && isTree ? 1e20 : 1.0
        return .double(Double.random(in: -1...1, using: &random) * scale * far)
      }
      columns.append(Column(name: name, type: .double, cells))
    }
    columns.append(
      Column(
        name: "count", type: .int64,
        (0..<rows).map { _ in
          isNull() ? .null : .int64(Int64.random(in: -3...40, using: &random))
        }))
    columns.append(
      Column(
        name: "flag", type: .bool,
        (0..<rows).map { _ in isNull() ? .null : .bool(Bool.random(using: &random)) }))
    columns.append(
      Column(
        name: "group", type: .int64,
        (0..<rows).map { row in
          let last: Int64 = row < trainingRows ? 11 : 15
          return isNull() ? .null : .int64(Int64.random(in: 0...last, using: &random))
        }))
    if kind.hasSuffix("_texts") {
      let cities = ["Zürich", "Oslo", "東京", "Lima", "Rome", "", "Nowhere", "Elsewhere"]
      columns.append(
        Column(
          name: "city", type: .string,
          (0..<rows).map { row in
            let known = row < trainingRows ? 6 : 8
            return isNull() ? .null : .string(cities[Int.random(in: 0..<known, using: &random)])
          }))
    }
    let label = (0..<rows).map { row -> Double in
      let parts = columns.map { $0[row].number ?? 0 }
      let noise = Double.random(in: -1...1, using: &random)
      let group = [2.0, -1, 0.5, -2][Int(parts[5]) % 4]
      return parts[0] + parts[1] / 100 + parts[3] / 40 + group + noise
    }
    columns.append(Column(name: "y", values: .double(label)))
    columns.append(
      Column(name: "event_timestamp", values: .timestamp((0..<rows).map { Int64($0) })))
    return ColumnBatch(columns: columns, count: rows)
  }

  private static let code = """
    import numpy as np

    class NativeWrapped:
        def __init__(self, inner): self.inner = inner
        def predict(self, X): return np.asarray(self.inner.predict(X), dtype=float)

    def tuned():
        from lightgbm import LGBMRegressor
        return LGBMRegressor

    try:
        class Tuned(tuned()):
            pass
    except ImportError:
        pass

    def squared(truth, answer):
        return answer - truth, np.ones_like(truth)

    def train(dataset, context):
        kind = context.params["kind"]
        if kind.endswith("_texts"):
            X = dataset.X
        else:
            X = dataset.matrix()
        y = dataset.y + 1000 * context.params["offset"]
        binary = (y > 0.3).astype(int)
        family, _, rest = kind.partition("_")
        if family == "lightgbm":
            return lightgbm_model(rest, X, y, binary, context)
        if family == "xgboost":
            return xgboost_model(rest, X, y, binary, context)
        return linear_model(kind, X, y, binary)

    def explain(values, context):
        for row, one in enumerate(np.asarray(values)):
            for place, value in enumerate(one):
                context.metrics[f"contribution_{row}_{place}"] = float(value)

    def lightgbm_model(kind, X, y, binary, context):
        import lightgbm as lgb
        group = ["group"] if kind == "texts" else [5]
        options = dict(n_estimators=60, num_leaves=31, verbose=-1, n_jobs=1)
        if kind == "classifier":
            model = lgb.LGBMClassifier(**options).fit(X, binary, categorical_feature=group)
            context.metrics["log_odds"] = 1
        elif kind == "stopped":
            cut = 9000
            model = lgb.LGBMRegressor(**{**options, "n_estimators": 400, "learning_rate": 0.3})
            model.fit(X[:cut], y[:cut], eval_set=[(X[cut:], y[cut:])],
                      callbacks=[lgb.early_stopping(3, verbose=False)])
            assert model.best_iteration_ < 400
        elif kind == "booster":
            data = lgb.Dataset(X, binary, categorical_feature=group)
            model = lgb.train(
                {"objective": "binary", "verbose": -1, "num_threads": 1}, data, 60)
            context.metrics["log_odds"] = 1
        elif kind == "multiclass":
            three = np.digitize(y, [-1, 1])
            return NativeWrapped(lgb.LGBMClassifier(**options).fit(X, three))
        elif kind == "objective":
            return lgb.LGBMRegressor(objective=squared, **options).fit(X, y)
        elif kind == "subclass":
            return Tuned(**options).fit(X, y)
        else:
            model = lgb.LGBMRegressor(**options).fit(X, y)
        explain(model.predict(X[:5], pred_contrib=True), context)
        return model

    def xgboost_model(kind, X, y, binary, context):
        import xgboost as xgb
        options = dict(n_estimators=60, max_depth=5, n_jobs=1)
        types = ["q", "q", "q", "int", "i", "c"]
        if kind == "classifier":
            model = xgb.XGBClassifier(feature_types=types, enable_categorical=True, **options)
            model.fit(X, binary)
            context.metrics["log_odds"] = 1
        elif kind == "forest":
            model = xgb.XGBRFRegressor(n_estimators=30, max_depth=6, n_jobs=1).fit(X, y)
        elif kind == "stopped":
            model = xgb.XGBRegressor(
                n_estimators=400, max_depth=5, learning_rate=0.5, early_stopping_rounds=3, n_jobs=1)
            model.fit(X[:9000], y[:9000], eval_set=[(X[9000:], y[9000:])], verbose=False)
            assert model.best_iteration < 399
        elif kind == "linear":
            return xgb.XGBRegressor(booster="gblinear", n_estimators=5).fit(np.nan_to_num(X), y)
        elif kind == "missing":
            return xgb.XGBRegressor(missing=-1.0, n_estimators=5).fit(np.nan_to_num(X), y)
        elif kind == "texts":
            return xgb.XGBRegressor(enable_categorical=True, n_estimators=5).fit(X, y)
        else:
            model = xgb.XGBRegressor(**options).fit(X, y)
        booster = model.get_booster()
        matrix = xgb.DMatrix(
            X[:5], feature_types=booster.feature_types, enable_categorical=True)
        chosen = model._get_iteration_range(None)
        explain(booster.predict(matrix, pred_contribs=True, iteration_range=chosen), context)
        return model

    def linear_model(kind, X, y, binary):
        from sklearn.linear_model import (
            ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge)
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, StandardScaler
        models = {
            "linear": (LinearRegression(), y),
            "ridge": (Ridge(), y),
            "lasso": (Lasso(alpha=0.01), y),
            "elastic_net": (ElasticNet(alpha=0.01), y),
            "logistic": (LogisticRegression(max_iter=2000), binary),
            "standard_logistic": (make_pipeline(StandardScaler(), LogisticRegression()), binary),
            "standard_ridge": (
                make_pipeline(StandardScaler(with_mean=False), "passthrough", Ridge()), y),
            "min_max_logistic": (
                make_pipeline(MinMaxScaler(clip=True), LogisticRegression()), binary),
            "both_linear": (
                make_pipeline(MinMaxScaler((-2, 3)), StandardScaler(), LinearRegression()), y),
            "polynomial": (make_pipeline(PolynomialFeatures(2), Ridge()), y),
            "own_class": (LinearRegression(), y),
        }
        model, target = models[kind]
        model.fit(X, target)
        return NativeWrapped(model) if kind == "own_class" else model
    """
}
