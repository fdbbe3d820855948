import Core
import Features

/// Vectors that a caller brings, so that nothing is hydrated.
enum GivenVectors {
  /// The rows as a hydrator would have read them: a null is an observation of null.
  ///
  /// - Throws: `invalid_argument` where a feature of the version has no column of its type.
  static func rows(
    _ batch: ColumnBatch, for version: ModelVersion, at time: Timestamp
  ) throws -> HydratedRows {
    let columns = try version.features.enumerated().map { index, feature in
      // Callers that read the signature send the columns in its order.
      let sameOrder = index < batch.columns.count && batch.columns[index].name == feature.name
      guard let column = sameOrder ? batch.columns[index] : batch[feature.name],
        column.type == feature.type
      else { throw lacking(feature, in: batch, version) }
      return column
    }
    var vectors = [FeatureVector](reserving: batch.count)
    for row in 0..<batch.count {
      vectors.append(
        FeatureVector(
          values: columns.map { column in
            let value = column[row]
            return FeatureValue(value: value, status: value.isNull ? .null : .present)
          }))
    }
    return HydratedRows(
      features: version.features.map { ColumnDefinition(name: $0.name, type: $0.type) },
      vectors: vectors, time: time)
  }

  private static func lacking(
    _ feature: ModelFeature, in batch: ColumnBatch, _ version: ModelVersion
  ) -> PlatformError {
    let found = batch[feature.name].map { "is \($0.type.rawValue)" } ?? "is not sent"
    return PlatformError(
      .invalidArgument,
      "version \(version.version) of model '\(version.model)' reads the feature '\(feature.name)' (\(feature.type.rawValue)), which \(found)",
      context: ["feature": feature.name])
  }
}
