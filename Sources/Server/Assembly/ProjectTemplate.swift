/// What `martlet init` writes.
package enum ProjectTemplate {
  /// File names and texts of a first project.
  package static func files(name: String) -> [(String, String)] {
    let last = name.split(separator: "/").last.map(String.init) ?? ""
    let usable = last.lowercased().filter {
      $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_")
    }
    let project = usable.first?.isLetter == true ? usable : "shop"
    return [("martlet.yaml", yaml(project)), ("train.py", train)]
  }

  private static func yaml(_ project: String) -> String {
    """
    project: \(project)

    entities:
      customer: {key: [customer_id]}

    sources:
      orders:
        event_time: ordered_at
        event_id: order_id
        columns: {customer_id: int64, amount: double}
        checks: {customer_id: {required: true}, amount: {min: 0}}
      outcomes:
        event_time: known_at
        columns: {customer_id: int64, asked_at: timestamp, left: bool}

    views:
      customer_orders:
        entity: customer
        source: orders
        features:
          last_amount: {latest: amount, ttl: 90d}
          orders_30d:  {count: "*", window: 30d}
          spend_30d:   {sum: amount, window: 30d}
          mean_30d:    {derived: spend_30d / orders_30d}

    models:
      churn:
        features: [customer_orders.last_amount, customer_orders.orders_30d, customer_orders.mean_30d]
        spine: {source: outcomes, time: asked_at}
        label: {source: outcomes, value: left, delay: 7d}
        train: {run: train.py:train, data: 180d, metric: roc_auc}
        drift: {window: 1d, retrain_above: 0.25}

    """
  }

  private static let train = """
    from sklearn.ensemble import HistGradientBoostingClassifier


    def train(dataset, context):
        model = HistGradientBoostingClassifier(random_state=context.random_seed)
        return model.fit(dataset.X, dataset.y)

    """
}
