//! Which node is asked: a replica of what is asked for, then the others of the data centre, as cdrs-tokio 9.0.2 has it,
//! but for its own connection. When that one is lost and any node is left to make it anew over, the driver looks at the
//! nodes again and takes each for one that has moved (it compares the address between nodes with that for clients), and
//! asks none of them ever again. Told of no node, it begins with the contact points, and takes the cluster as it is.

use super::guard::{Guarded, Manager};
use cdrs_tokio::{
    cluster::ClusterMetadata,
    load_balancing::{LoadBalancingStrategy, QueryPlan, Request, TopologyAwareLoadBalancingStrategy},
};

/// The order in which nodes are asked.
pub(super) struct Balancing(TopologyAwareLoadBalancingStrategy<Guarded, Manager>);

impl Balancing {
    pub(super) fn new() -> Self {
        Self(TopologyAwareLoadBalancingStrategy::new(None, false))
    }
}

impl LoadBalancingStrategy<Guarded, Manager> for Balancing {
    fn query_plan(
        &self,
        request: Option<Request<'_>>,
        cluster: &ClusterMetadata<Guarded, Manager>,
    ) -> QueryPlan<Guarded, Manager> {
        match request {
            // The driver's own connection alone asks for no request.
            None => QueryPlan::new(Vec::new()),
            some => self.0.query_plan(some, cluster),
        }
    }
}
