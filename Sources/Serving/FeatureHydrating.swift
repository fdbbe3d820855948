import Core
import Features

/// The first step of a prediction: the model's vector for every row.
package protocol FeatureHydrating: Sendable {
  func hydrate(_ request: HydrateRequest) async throws -> HydratedRows
}

extension Hydrator: FeatureHydrating {}
