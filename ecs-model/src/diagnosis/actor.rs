//! Who acts, and how a stop counts.

words! {
    /// Who can act on a stop. People route by it.
    Actor ("actor") {
        /// Whoever develops the application.
        Application = "application",
        /// Whoever built the image or wrote the task definition.
        Release = "release",
        /// Whoever manages roles and policies.
        Iam = "iam",
        /// Whoever manages routes, endpoints and security groups.
        Network = "network",
        /// Whoever runs clusters, hosts and quotas.
        Platform = "platform",
        /// Whoever called `StopTask`.
        Caller = "caller",
        /// AWS.
        Aws = "aws",
        /// There is nothing to do.
        Nobody = "nobody",
        /// It can't be told.
        Unknown = "unknown",
    }
}

words! {
    /// How a stop counts for whoever counts or announces stops.
    Kind ("kind") {
        /// Somebody or something wanted it: a scale-in, a deployment, a call of `StopTask`, a finished job.
        Expected = "expected",
        /// Its host went away, or AWS did not provide one in time.
        Interrupted = "interrupted",
        /// It failed.
        Failed = "failed",
    }
}
