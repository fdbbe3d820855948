import Core
import Foundation
import Logging
import Serving
import Testing
import Workers

@Suite(
  "Native models", .serialized, .enabled(if: PythonWorkers.python != nil, PythonWorkers.absent))
struct NativeModelsTests {
  /// To the bit, missing values, categorical splits and categories that training never saw included.
  static let treeKinds = [
    "lightgbm_classifier", "lightgbm_regressor", "lightgbm_booster", "lightgbm_texts",
    "lightgbm_stopped", "xgboost_classifier", "xgboost_regressor", "xgboost_stopped",
    "xgboost_forest",
  ]

  @Test("a tree model answers as its own library on 12,000 rows, to the bit", arguments: treeKinds)
  func trees(kind: String) async throws {
    try await NativeProject.with { project in
      let trained = try await project.train(kind)
      let form = try await project.engine.compare(
        fileAt: trained.native, rows: trained.rows, expected: trained.predictions)
      #expect(form.refusal == nil)
      #expect(form.kind == kind.prefix { $0 != "_" })
      #expect(form.comparedRows == NativeProject.rows)
      #expect(form.largestDifference == 0)
    }
  }

  static let linearKinds = [
    "linear", "ridge", "lasso", "elastic_net", "logistic", "standard_logistic", "standard_ridge",
    "min_max_logistic", "both_linear",
  ]

  @Test(
    "a linear model answers as scikit-learn on 12,000 rows, within the rounding of a sum",
    arguments: linearKinds)
  func linear(kind: String) async throws {
    try await NativeProject.with { project in
      let trained = try await project.train(kind)
      let form = try await project.engine.compare(
        fileAt: trained.native, rows: trained.rows, expected: trained.predictions)
      #expect(form.refusal == nil)
      #expect(form.kind == "linear")
      #expect(form.comparedRows == NativeProject.rows)
      #expect(form.largestDifference < 1e-11)
    }
  }

  static let unsupported: [(kind: String, why: String)] = [
    ("lightgbm_multiclass", "NativeWrapped.predict is none of the models"),
    ("lightgbm_objective", "its objective is a function of its own"),
    ("lightgbm_subclass", "Tuned.predict is none of the models"),
    ("xgboost_linear", "its booster is gblinear"),
    ("xgboost_missing", "its value for missing is -1.0"),
    ("xgboost_texts", "feature 'city' is a text"),
    ("polynomial", "a sklearn.PolynomialFeatures"),
    ("own_class", "NativeWrapped.predict is none of the models"),
  ]

  @Test("what has no exact native form is refused, with the reason", arguments: unsupported)
  func refuses(kind: String, why: String) async throws {
    try await NativeProject.with { project in
      let trained = try await project.train(kind)
      let form = try await project.engine.compare(
        fileAt: trained.native, rows: trained.rows, expected: trained.predictions)
      #expect(form.kind == "none")
      #expect(form.refusal?.contains(why) == true, "\(form)")
      #expect(form.artifact == nil)
    }
  }

  @Test("one number that differs in its last bit refuses a tree model")
  func oneBit() async throws {
    try await NativeProject.with { project in
      let trained = try await project.train("lightgbm_classifier")
      var expected = trained.predictions
      expected[7_000] = expected[7_000].nextUp
      let form = try await project.engine.compare(
        fileAt: trained.native, rows: trained.rows, expected: expected)
      #expect(form.refusal?.contains("in row 7001 of the training set") == true, "\(form)")
    }
  }

  @Test("contributions are the library's own and sum up to the raw score", arguments: treeKinds)
  func contributions(kind: String) async throws {
    try await NativeProject.with { project in
      let trained = try await project.train(kind)
      let key = try await project.load(trained)
      let rows = trained.rows.gather(Array(0..<NativeProject.explained))
      let found = try #require(try await project.engine.contributions(key, rows))
      try #require(found.count == NativeProject.explained)
      for (row, one) in found.enumerated() {
        let library = (0...one.values.count).map { trained.metrics["contribution_\(row)_\($0)"] }
        // XGBoost adds in floats, and its order depends on the number of threads.
        let tolerance = kind.hasPrefix("xgboost") ? 1e-5 : 0
        for (ours, theirs) in zip(one.values + [one.base], library) {
          #expect(abs(ours - (theirs ?? .nan)) <= tolerance)
        }
        let raw = one.values.reduce(one.base, +)
        let answer = trained.predictions[row]
        let expected = trained.metrics["log_odds"] == 1 ? log(answer / (1 - answer)) : answer
        #expect(abs(raw - expected) < 1e-3 * max(1, abs(expected)))
      }
    }
  }

  @Test("a linear model refuses what scikit-learn refuses, and says which feature it was")
  func missingValue() async throws {
    try await NativeProject.with { project in
      let trained = try await project.train("standard_logistic")
      let key = try await project.load(trained)
      var rows = trained.rows.gather([0, 1])
      rows.columns[2].presence = [0, Presence.null.rawValue]
      let error = await failure {
        try await project.engine.score(key, rows, timeout: .seconds(5))
      }
      #expect(error?.code == .userCode)
      #expect(
        error?.message.contains("takes no missing value, but feature 'c' has one in row 2") == true)
    }
  }

  @Test("single rows from many tasks at once are answered as the library answered them")
  func concurrent() async throws {
    try await NativeProject.with { project in
      for kind in ["lightgbm_classifier", "xgboost_classifier"] {
        let trained = try await project.train(kind)
        let key = try await project.load(trained)
        try await withThrowingTaskGroup(of: Int.self) { group in
          for first in 0..<8 {
            group.addTask {
              var wrong = 0
              for row in stride(from: first, to: 4_000, by: 8) {
                let answer = try await project.engine.score(
                  key, trained.rows.gather([row]), timeout: .seconds(30))
                if answer.values != [trained.predictions[row]] { wrong += 1 }
              }
              return wrong
            }
          }
          for try await wrong in group { #expect(wrong == 0) }
        }
      }
    }
  }

  @Test("columns may come in any order")
  func order() async throws {
    try await NativeProject.with { project in
      let trained = try await project.train("lightgbm_classifier")
      let key = try await project.load(trained)
      var rows = trained.rows
      rows.columns.reverse()
      let answer = try await project.engine.score(key, rows, timeout: .seconds(30))
      #expect(answer.values == trained.predictions)
    }
  }
}
